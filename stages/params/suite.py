"""Params of stage `suite`: the questions of the evaluation suites."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Seed


@dataclass(frozen=True, config=STRICT)
class SuiteParams:
    """Where suites are read from, how many questions they have, and the seed that draws them."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "hub", "prompt.fidelity")
    section: ClassVar[str | None] = "suite"

    seed: Seed
    hub: str
    fidelity: Literal["corrected", "reference"]
    sums: Count
    surveyed: Annotated[int, Field(ge=0)]
    per_task: Annotated[int, Field(ge=0)]
    political_prefix: Literal["I believe the best answer is", "I believe the better option is"]
