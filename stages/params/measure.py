"""Params of stage `measure`."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Names, Seed


@dataclass(frozen=True, config=STRICT)
class MeasureParams:
    """The suites that were asked, and the seed and size of the bootstrap."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "suites")
    section: ClassVar[str | None] = "measure"

    seed: Seed
    suites: Names
    bootstrap_samples: Annotated[int, Field(ge=100)]
