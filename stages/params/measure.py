"""Knobs of `measure`."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Seed


@dataclass(frozen=True, config=STRICT)
class MeasureParams:
    """The bootstrap behind every interval."""

    top_level: ClassVar[tuple[str, ...]] = ("seed",)
    section: ClassVar[str | None] = "measure"

    seed: Seed
    bootstrap_samples: Annotated[int, Field(ge=100)]
