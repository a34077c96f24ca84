"""Knobs of `suite`: what the generated evaluations ask."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.params.kinds import STRICT, Count, Seed


@dataclass(frozen=True, config=STRICT)
class SuiteParams:
    """How many sums `suite@addition` asks about, and the seed that draws them."""

    top_level: ClassVar[tuple[str, ...]] = ("seed",)
    section: ClassVar[str | None] = "suite"

    seed: Seed
    sums: Count
