"""Params of stage `clean`: which examples are kept, and how many are held out."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Names


@dataclass(frozen=True, config=STRICT)
class CleanParams:
    """The lists of data sets, instruction sets and suites, the held-out share, and the longest text."""

    top_level: ClassVar[tuple[str, ...]] = ("datasets", "instructions", "suites")
    section: ClassVar[str | None] = "clean"

    datasets: Names
    instructions: Names
    suites: Names
    held_out: Annotated[float, Field(gt=0.0, lt=1.0)]
    max_characters: Count
