"""Params of stage `prompt`: the number and the form of prompts and held-out claims."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Names, Seed


@dataclass(frozen=True, config=STRICT)
class PromptParams:
    """How prompts and held-out claims are made from the examples."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "datasets")
    section: ClassVar[str | None] = "prompt"

    seed: Seed
    datasets: Names
    claims: Literal["paper", "balanced"]
    fidelity: Literal["corrected", "reference"]
    count: Count
    most_per_dataset: Annotated[int, Field(ge=0)]
    held_out_per_dataset: Count
    reworded_per_dataset: Annotated[int, Field(ge=0)]
