"""Params of stage `evaluate`."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Names
from stages.core.shared_types import Dtype, PromptFormat


@dataclass(frozen=True, config=STRICT)
class EvaluateParams:
    """The suites that are asked, the prompt format, the floating-point type, and the length of generated answers."""

    top_level: ClassVar[tuple[str, ...]] = ("suites", "prompt_format")
    section: ClassVar[str | None] = "evaluate"

    suites: Names
    prompt_format: PromptFormat
    dtype: Dtype
    max_new_tokens: Count
