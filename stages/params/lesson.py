"""Knobs of `lesson`: what instruction data is made of the training examples."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Names, Seed, Share


@dataclass(frozen=True, config=STRICT)
class LessonParams:
    """The lessons, their size, and how often a user in them is right."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "lessons")
    section: ClassVar[str | None] = "lesson"

    seed: Seed
    lessons: Names
    texts: Count
    user_right: Share
