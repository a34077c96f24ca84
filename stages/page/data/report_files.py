"""Readers of the report files, with validation: metrics, filter reports, curves, counts and sweeps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import polars as pl
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from stages.core.errors import UserError
from stages.core.param_types import Share
from stages.core.validation import complaint
from stages.tables.schemas import SWEEP_COLUMNS

T = TypeVar("T")

REPRO = "`dvc repro`"

# The files may have other keys, which the page does not show and does not check.
_CONFIG = ConfigDict(extra="ignore")

# Columns that `read_breakdown` reads from reports/tables/; the files have more.
BREAKDOWN_COLUMNS: dict[str, Any] = dict.fromkeys(("suite", "condition", "group", "value", "measure"), pl.String)
BREAKDOWN_COLUMNS |= dict.fromkeys(("base", "tuned", "delta", "delta_low", "delta_high"), pl.Float64) | {"n": pl.Int64}

# Columns of the files in reports/curve/, which `read_steps` reads.
STEPS: dict[str, Any] = {"step": pl.Int64, "measure": pl.String}
STEPS |= dict.fromkeys(("value", "delta", "delta_low", "delta_high"), pl.Float64) | {"n": pl.Int64}

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, config=_CONFIG)
class Change:
    """One headline measure of a model before and after fine-tuning, with the 95% interval of the difference."""

    base: FiniteFloat
    tuned: FiniteFloat
    delta: FiniteFloat
    delta_low: FiniteFloat
    delta_high: FiniteFloat
    n: int


@dataclass(frozen=True, config=_CONFIG)
class KeptCounts:
    """How many prompts of one kind were judged, and how many of them (and what share) the filter kept."""

    judged: int
    kept: int
    kept_share: Share


@dataclass(frozen=True, config=_CONFIG)
class FilterReport:
    """The filter's result for one model: kept prompts and the estimated share of known claims, in total and by kind."""

    judged: int
    kept: int
    kept_share: Share
    known_share: FiniteFloat
    known_share_low: FiniteFloat
    known_share_high: FiniteFloat
    verdict: str
    verdict_reason: str
    by_dataset: dict[str, KeptCounts]
    by_polarity: dict[str, KeptCounts]
    by_letter: dict[str, KeptCounts]
    by_truth: dict[str, KeptCounts]


@dataclass(frozen=True, config=_CONFIG)
class CleanReport:
    """The counts of cleaning: for every data set and instruction set, how many rows each rule removed."""

    rows: dict[str, dict[str, int]]
    instructions: dict[str, dict[str, int]]


@dataclass(frozen=True, config=_CONFIG)
class SourceReport:
    """Counts of one data set's source, before any row is removed."""

    rows: int
    published_rows: int | None
    unlabelled: int
    duplicates: int
    contradicting_in_set: int
    in_other_sets: int
    contradicting_in_any: int
    placeholders: int
    median_characters: int
    longest: int
    labels: dict[str, int]
    overlaps: dict[str, int]
    licence: str


@dataclass(frozen=True, config=_CONFIG)
class Total:
    """Totals over all data sets: rows, and distinct texts counted within each set or over all sets."""

    rows: int
    published_rows: int
    distinct_in_sets: int
    distinct: int
    paper: int


@dataclass(frozen=True, config=_CONFIG)
class Validation:
    """Counts of the sources, for each data set and in total."""

    datasets: dict[str, SourceReport]
    total: Total


@dataclass(frozen=True, config=_CONFIG)
class Shortcut:
    """How often a rule that ignores a claim's text is right; None where there was nothing to try it on."""

    training_prompts: Share | None
    held_out_claims: Share | None


def read_metrics(path: Path) -> dict[str, Change]:
    """The measures in the metrics file at `path`, by name; entries without `base`, such as the filter's, are left out.

    Raises:
        UserError: the file is missing or is not a metrics file.
    """
    measures = {name: entry for name, entry in _json(path).items() if isinstance(entry, dict) and "base" in entry}
    return _validated(dict[str, Change], measures, path, "a metrics file")


def read_filter(path: Path) -> FilterReport:
    """The filter's report at `path`; raises UserError as `read_metrics` does."""
    return _validated(FilterReport, _json(path), path, "a filter report")


def read_counts(path: Path) -> CleanReport:
    """The report of cleaning at `path`; raises UserError as `read_metrics` does."""
    return _validated(CleanReport, _json(path), path, "a report of cleaning")


def read_validation(path: Path) -> Validation:
    """The report on the sources at `path`; raises UserError as `read_metrics` does."""
    return _validated(Validation, _json(path), path, "a validation report")


def read_shortcuts(path: Path) -> dict[str, Shortcut]:
    """The shortcut audit at `path`, by rule; raises UserError as `read_metrics` does."""
    rules = {name: entry for name, entry in _json(path).items() if name not in ("prompts", "claims")}
    return _validated(dict[str, Shortcut], rules, path, "a shortcut audit")


def read_training(path: Path) -> pl.DataFrame:
    """The training curve at `path`: columns `step` (from 1) and `loss` (natural log), ordered by step.

    Raises:
        UserError: the file is missing, is not CSV or lacks one of the two columns.
    """
    return _curve(path, ["step", "loss"], "a training curve")


def read_losses(path: Path) -> pl.DataFrame:
    """The validation losses at `path`: columns `source`, `step` and `loss`; raises as `read_training` does."""
    return _curve(path, ["source", "step", "loss"], "a table of losses by source")


def read_breakdown(path: Path) -> pl.DataFrame:
    """The breakdown of the headline measures at `path`: BREAKDOWN_COLUMNS, numbers in the measure's own unit.

    Raises:
        UserError: the file is missing, is not CSV or lacks one of the columns.
    """
    return _table(path, BREAKDOWN_COLUMNS, "a table of measures")


def read_steps(path: Path) -> pl.DataFrame:
    """Each measure's value after some of the steps, at `path`: columns STEPS; raises as `read_breakdown` does."""
    return _table(path, STEPS, "a curve of measures")


def read_sweep(path: Path) -> pl.DataFrame:
    """The table of a sweep at `path`: SWEEP_COLUMNS, with the settings as they were typed.

    Raises:
        UserError: the file is missing, malformed or empty, has a number that is not finite, or repeats a row.
    """
    command = f"`candor sweep {path.stem} VALUE...`"
    table = _table(path, SWEEP_COLUMNS, "a table of a sweep", command)
    numbers = [pl.col(name) for name, kind in SWEEP_COLUMNS.items() if kind == pl.Float64]
    problems = {
        "it has no rows": table.is_empty(),
        "a cell is empty": sum(table.null_count().row(0)) > 0,
        "a number is not finite": not table.select(
            pl.all_horizontal(number.is_finite().all() for number in numbers)
        ).item(),
        "a setting has a model's measure twice": table.select("setting", "model", "measure").is_duplicated().any(),
    }
    for problem, is_present in problems.items():
        if is_present:
            raise _malformed(path, "a table of a sweep", problem, command)
    return table


def _curve(path: Path, columns: list[str], what: str) -> pl.DataFrame:
    types: dict[str, Any] = {"source": pl.String, "step": pl.Int64, "loss": pl.Float64}
    return _table(path, {column: types[column] for column in columns}, what).sort("step", maintain_order=True)


def _table(path: Path, columns: Mapping[str, Any], what: str, command: str = REPRO) -> pl.DataFrame:
    try:
        return pl.read_csv(path, schema_overrides=columns).select(list(columns))
    except FileNotFoundError:
        raise _missing(path) from None
    except pl.exceptions.PolarsError as error:
        # The other lines of a polars message are advice on how to call polars.
        raise _malformed(path, what, str(error).partition("\n")[0], command) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise _malformed(path, "JSON", str(error)) from None
    if not isinstance(document, dict):
        raise _malformed(path, "a report", "it holds no keys")
    return document


def _validated(kind: type[T], document: Any, path: Path, what: str) -> T:
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise _malformed(path, what, f"{where}: {complaint(first)}") from None


def _missing(path: Path) -> UserError:
    return UserError(f"{path} does not exist; `dvc repro` makes it")


def _malformed(path: Path, what: str, why: str, command: str = REPRO) -> UserError:
    return UserError(f"{path} is not {what} ({why}); delete it and run {command}")
