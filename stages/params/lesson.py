"""Params of stage `lesson`: which instruction data is made from the training examples."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Names, Seed, Share


@dataclass(frozen=True, config=STRICT)
class LessonParams:
    """The lessons, their size, and the share of users in them who are right."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "lessons")
    section: ClassVar[str | None] = "lesson"

    seed: Seed
    lessons: Names
    texts: Count
    user_right: Share
