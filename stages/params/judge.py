"""Knobs of `judge`."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT
from stages.core.shared_types import Dtype, PromptFormat


@dataclass(frozen=True, config=STRICT)
class JudgeParams:
    """How a model is asked, and the arithmetic that judging computes in."""

    top_level: ClassVar[tuple[str, ...]] = ("prompt_format",)
    section: ClassVar[str | None] = "judge"

    prompt_format: PromptFormat
    dtype: Dtype
