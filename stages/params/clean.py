"""Knobs of `clean`: which examples pass, and which are held out."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Names


@dataclass(frozen=True, config=STRICT)
class CleanParams:
    """What `clean` reads of the lists, and its limits."""

    top_level: ClassVar[tuple[str, ...]] = ("datasets", "instructions", "suites")
    section: ClassVar[str | None] = "clean"

    datasets: Names
    instructions: Names
    suites: Names
    held_out: Annotated[float, Field(gt=0.0, lt=1.0)]
    max_characters: Count
