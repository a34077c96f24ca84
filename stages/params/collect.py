"""Params of stage `collect`."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT


@dataclass(frozen=True, config=STRICT)
class CollectParams:
    """Where data sets of the hub are read from: a local folder with its layout, or the hub itself if empty."""

    top_level: ClassVar[tuple[str, ...]] = ("hub",)
    section: ClassVar[str | None] = None

    hub: str
