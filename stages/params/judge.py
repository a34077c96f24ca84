"""Params of stage `judge`."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT
from stages.core.shared_types import Dtype, PromptFormat


@dataclass(frozen=True, config=STRICT)
class JudgeParams:
    """The prompt format and the floating-point type of judging."""

    top_level: ClassVar[tuple[str, ...]] = ("prompt_format",)
    section: ClassVar[str | None] = "judge"

    prompt_format: PromptFormat
    dtype: Dtype
