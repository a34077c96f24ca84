"""Knobs of `collect`."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT


@dataclass(frozen=True, config=STRICT)
class CollectParams:
    """Where the sources of the hub are read: a folder in its layout, or the hub itself where it is empty."""

    top_level: ClassVar[tuple[str, ...]] = ("hub",)
    section: ClassVar[str | None] = None

    hub: str
