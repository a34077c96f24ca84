"""Knobs of `judge`."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.params.kinds import STRICT, Dtype


@dataclass(frozen=True, config=STRICT)
class JudgeParams:
    """The arithmetic that judging computes in."""

    top_level: ClassVar[tuple[str, ...]] = ()
    section: ClassVar[str | None] = "judge"

    dtype: Dtype
