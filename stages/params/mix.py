"""Knobs of `mix`: the training examples and their order."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.params.kinds import STRICT, Count, Seed, Share


@dataclass(frozen=True, config=STRICT)
class MixParams:
    """The share of generated prompts, and how many training examples there are."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "mix_ratio")
    section: ClassVar[str | None] = "mix"

    seed: Seed
    mix_ratio: Share
    rows: Count
