"""Params of stage `filter`: which prompts are kept."""

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT


@dataclass(frozen=True, config=STRICT)
class FilterParams:
    """The option orders in which a prompt must be judged correctly to be kept."""

    top_level: ClassVar[tuple[str, ...]] = ()
    section: ClassVar[str | None] = "filter"

    require: Literal["original_order", "both_orders", "nothing"]
