"""Params of stage `report`."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Names


@dataclass(frozen=True, config=STRICT)
class ReportParams:
    """The models that the page shows, and the suites that they were asked."""

    top_level: ClassVar[tuple[str, ...]] = ("models", "suites")
    section: ClassVar[str | None] = None

    models: Names
    suites: Names
