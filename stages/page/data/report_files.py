"""The report files that the page is made of, read with their form checked: metrics, filter, curves, counts, sweeps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import polars as pl
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from stages.core.errors import UserError
from stages.core.validation import complaint
from stages.tables.schemas import SWEEP_COLUMNS

T = TypeVar("T")

REPRO = "`dvc repro`"

# Other keys may stand in these files: what the page does not show, it does not judge.
_FORM = ConfigDict(extra="ignore")

# Columns of `read_breakdown`, as reports/tables/ has them; there are more.
BREAKDOWN_COLUMNS: dict[str, Any] = dict.fromkeys(("suite", "condition", "group", "value", "measure"), pl.String)
BREAKDOWN_COLUMNS |= dict.fromkeys(("base", "tuned", "delta", "delta_low", "delta_high"), pl.Float64) | {"n": pl.Int64}

# Columns of `read_steps`, as reports/curve/ has them.
STEPS: dict[str, Any] = {"step": pl.Int64, "measure": pl.String}
STEPS |= dict.fromkeys(("value", "delta", "delta_low", "delta_high"), pl.Float64) | {"n": pl.Int64}

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, config=_FORM)
class Change:
    """One headline measure of a model before and after fine-tuning, with the 95% interval of the difference."""

    base: Number
    tuned: Number
    delta: Number
    delta_low: Number
    delta_high: Number
    n: int


@dataclass(frozen=True, config=_FORM)
class KeptCounts:
    """How many prompts of one kind were judged, and how many of them (and what share) the filter kept."""

    judged: int
    kept: int
    kept_share: Share


@dataclass(frozen=True, config=_FORM)
class FilterReport:
    """What the filter found a model to know, over all prompts and by kind of prompt."""

    judged: int
    kept: int
    kept_share: Share
    known_share: Number
    known_share_low: Number
    known_share_high: Number
    verdict: str
    verdict_reason: str
    by_dataset: dict[str, KeptCounts]
    by_polarity: dict[str, KeptCounts]
    by_letter: dict[str, KeptCounts]
    by_truth: dict[str, KeptCounts]


@dataclass(frozen=True, config=_FORM)
class CleanReport:
    """What cleaning did: rows of every data set and pairs of every instruction set, by what became of them."""

    rows: dict[str, dict[str, int]]
    instructions: dict[str, dict[str, int]]


@dataclass(frozen=True, config=_FORM)
class SourceReport:
    """What one data set's source holds, before anything is left out."""

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


@dataclass(frozen=True, config=_FORM)
class Total:
    """All data sets together: rows, and different texts counted in each set or over all of them."""

    rows: int
    published_rows: int
    distinct_in_sets: int
    distinct: int
    paper: int


@dataclass(frozen=True, config=_FORM)
class Validation:
    """What the sources hold: of each data set, and of all together."""

    datasets: dict[str, SourceReport]
    total: Total


@dataclass(frozen=True, config=_FORM)
class Shortcut:
    """How often a rule that does not read a claim's text is right, or null where there was nothing to try it on."""

    training_prompts: Share | None
    held_out_claims: Share | None


def read_metrics(path: Path) -> dict[str, Change]:
    """The measures at `path`, by name: what holds a `base`; other parts, such as the filter's, are left out.

    Raises:
        UserError: the file is missing or is not a metrics file.
    """
    measures = {name: entry for name, entry in _json(path).items() if isinstance(entry, dict) and "base" in entry}
    return _checked(dict[str, Change], measures, path, "a metrics file")


def read_filter(path: Path) -> FilterReport:
    """The filter's report at `path`; raises UserError as `read_metrics` does."""
    return _checked(FilterReport, _json(path), path, "a filter report")


def read_counts(path: Path) -> CleanReport:
    """The counts of cleaning at `path`; raises UserError as `read_metrics` does."""
    return _checked(CleanReport, _json(path), path, "a report of cleaning")


def read_validation(path: Path) -> Validation:
    """What the sources hold, at `path`; raises UserError as `read_metrics` does."""
    return _checked(Validation, _json(path), path, "a validation report")


def read_shortcuts(path: Path) -> dict[str, Shortcut]:
    """The shortcut audit at `path`, by rule; raises UserError as `read_metrics` does."""
    rules = {name: entry for name, entry in _json(path).items() if name not in ("prompts", "claims")}
    return _checked(dict[str, Shortcut], rules, path, "a shortcut audit")


def read_training(path: Path) -> pl.DataFrame:
    """Columns `step` (from 1) and `loss` (natural log) of the training curve at `path`, in the order of steps.

    Raises:
        UserError: the file is missing, is not CSV or lacks one of the two columns.
    """
    return _curve(path, ["step", "loss"], "a training curve")


def read_losses(path: Path) -> pl.DataFrame:
    """Columns `source`, `step` and `loss` of the losses on rows set aside at `path`; raises as `read_training` does."""
    return _curve(path, ["source", "step", "loss"], "a table of losses by source")


def read_breakdown(path: Path) -> pl.DataFrame:
    """The breakdown of the headline at `path`: BREAKDOWN_COLUMNS, the numbers in the measure's own unit.

    Raises:
        UserError: the file is missing, is not CSV or lacks one of the columns.
    """
    return _table(path, BREAKDOWN_COLUMNS, "a table of measures")


def read_steps(path: Path) -> pl.DataFrame:
    """Each measure's value after some of the steps, at `path`: STEPS; raises as `read_breakdown` does."""
    return _table(path, STEPS, "a curve of measures")


def read_sweep(path: Path) -> pl.DataFrame:
    """What a sweep's measures came to, at `path`: the columns of `candor sweep`, settings as they were typed.

    Raises:
        UserError: the file is not such a table, or says nothing, no number, or one thing twice.
    """
    again = f"`candor sweep {path.stem} VALUE...`"
    table = _table(path, SWEEP_COLUMNS, "a table of a sweep", again)
    numbers = [pl.col(name) for name, kind in SWEEP_COLUMNS.items() if kind == pl.Float64]
    finds = {
        "it has no rows": table.is_empty(),
        "a cell is empty": sum(table.null_count().row(0)) > 0,
        "a number is not finite": not table.select(
            pl.all_horizontal(number.is_finite().all() for number in numbers)
        ).item(),
        "a setting has a model's measure twice": table.select("setting", "model", "measure").is_duplicated().any(),
    }
    for why, is_so in finds.items():
        if is_so:
            raise _not(path, "a table of a sweep", why, again)
    return table


def _curve(path: Path, columns: list[str], what: str) -> pl.DataFrame:
    types: dict[str, Any] = {"source": pl.String, "step": pl.Int64, "loss": pl.Float64}
    return _table(path, {column: types[column] for column in columns}, what).sort("step", maintain_order=True)


def _table(path: Path, columns: Mapping[str, Any], what: str, again: str = REPRO) -> pl.DataFrame:
    try:
        return pl.read_csv(path, schema_overrides=columns).select(list(columns))
    except FileNotFoundError:
        raise _missing(path) from None
    except pl.exceptions.PolarsError as error:
        # What polars goes on with is advice on how to call it.
        raise _not(path, what, str(error).partition("\n")[0], again) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except ValueError as error:
        raise _not(path, "JSON", str(error)) from None
    if not isinstance(document, dict):
        raise _not(path, "a report", "it holds no keys")
    return document


def _checked(form: type[T], document: Any, path: Path, what: str) -> T:
    try:
        return TypeAdapter(form).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _not(path, what, f"{where}: {complaint(first)}") from None


def _missing(path: Path) -> UserError:
    return UserError(f"{path} does not exist; `dvc repro` makes it")


def _not(path: Path, what: str, why: str, again: str = REPRO) -> UserError:
    return UserError(f"{path} is not {what} ({why}); delete it and run {again}")
