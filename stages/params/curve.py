"""Knobs of `curve`: how checkpoints are asked, and the bootstrap behind the intervals."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Names, Seed
from stages.core.shared_types import Dtype, PromptFormat


@dataclass(frozen=True, config=STRICT)
class CurveParams:
    """As the model itself is asked and measured."""

    top_level: ClassVar[tuple[str, ...]] = (
        "seed",
        "suites",
        "prompt_format",
        "evaluate.dtype",
        "measure.bootstrap_samples",
    )
    section: ClassVar[str | None] = None

    seed: Seed
    suites: Names
    prompt_format: PromptFormat
    dtype: Dtype
    bootstrap_samples: Annotated[int, Field(ge=100)]
