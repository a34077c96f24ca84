"""Params of stage `mix`: the training examples and their order."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Name, Seed, Share


@dataclass(frozen=True, config=STRICT)
class PhaseParams:
    """A phase of the training: its share of the instruction data, and its data sets and lessons with their weights."""

    share: Annotated[float, Field(gt=0.0, le=1.0)]
    weights: Annotated[dict[Name, Annotated[float, Field(gt=0.0)]], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class MixParams:
    """The share of generated prompts, the number of training examples, the phases, and the validation rows."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "mix_ratio")
    section: ClassVar[str | None] = "mix"

    seed: Seed
    mix_ratio: Share
    rows: Count
    phases: tuple[PhaseParams, ...]
    validation: Annotated[int, Field(ge=0)]
