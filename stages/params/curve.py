"""Params of stage `curve`: how checkpoints are asked and measured."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Names, Seed
from stages.core.shared_types import Dtype, PromptFormat


@dataclass(frozen=True, config=STRICT)
class CurveParams:
    """The same params with which the final model is asked and measured."""

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
