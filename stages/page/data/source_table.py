"""The page's table of data sets: counts of their sources before cleaning."""

from collections.abc import Callable, Mapping
from typing import Any

from stages.page.data.report_files import SourceReport

_COLUMNS: dict[str, Callable[[SourceReport], str]] = {
    "rows": lambda source: _number(source.rows),
    "published": lambda source: "–" if source.published_rows is None else _number(source.published_rows),
    "unlabelled": lambda source: _number(source.unlabelled),
    "duplicates": lambda source: _number(source.duplicates),
    "conflicts": lambda source: _number(source.contradicting_in_set),
    "in other sets": lambda source: _number(source.in_other_sets),
    "conflicts there": lambda source: _number(source.contradicting_in_any),
    "placeholders": lambda source: _number(source.placeholders),
    "characters, median": lambda source: _number(source.median_characters),
    "longest": lambda source: _number(source.longest),
    "commonest label": lambda source: _largest_share(source.labels),
    "overlaps": lambda source: _number(sum(source.overlaps.values())),
    "licence": lambda source: source.licence,
}


def source_table(sources: Mapping[str, SourceReport]) -> dict[str, Any]:
    """The table's columns and a row for each data set, all as text."""
    rows = {name: [cell(source) for cell in _COLUMNS.values()] for name, source in sources.items()}
    return {"columns": list(_COLUMNS), "rows": rows}


def _number(count: int) -> str:
    return f"{count:,}"


def _largest_share(labels: Mapping[str, int]) -> str:
    return f"{max(labels.values()) / sum(labels.values()):.0%}" if labels else "–"
