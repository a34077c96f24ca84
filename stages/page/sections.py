"""The sections of the page: for each model sentences, numbers as text, figures and answers; for each sweep figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from stages.page.charts import alt_text, curves, shares, sweeps
from stages.page.charts.interactive import specification
from stages.page.charts.svg import render, size
from stages.page.data import sentences, tables
from stages.page.data.changed import SHOWN, ChangedAnswer, most_changed
from stages.page.data.labels import in_order, level, measure_of, percent, signed, verdict
from stages.page.data.model_inputs import ModelInputs
from stages.page.data.report_files import Change, FilterReport

ADDITION = "addition"


@dataclass(frozen=True)
class Figure:
    """A figure: its SVG file, the specification that the page draws it from, and its text alternative.

    `specification` is packed (`interactive.specification`); `width` and `height` are those of the SVG, in pixels.
    """

    svg: str
    specification: str
    alt_text: str
    width: float
    height: float


@dataclass(frozen=True)
class ModelSection:
    """One model's section of the page: sentences, table rows as text, figures by name, and the changed answers."""

    name: str
    sentence: str
    tally: str
    warnings: Sequence[str]
    filter: str
    rows: Sequence[Mapping[str, str]]
    breakdown: Sequence[Mapping[str, str]]
    figures: Mapping[str, Figure]
    changed: Sequence[ChangedAnswer]


def answers_per_suite(models: int) -> int:
    """How many answers of each suite a model shows: fewer if there are many models, to limit the size of the page."""
    return SHOWN // models


def model_section(inputs: ModelInputs, per_suite: int = SHOWN) -> ModelSection:
    """Writes the sentences and draws the figures of one model's section.

    It has the answers that changed most over all suites, and the first `per_suite` of each suite.
    """
    changes = in_order(inputs.changes)
    missing_suites = set(inputs.questions["suite"]) - set(inputs.tuned["suite"])
    return ModelSection(
        name=inputs.name,
        sentence=sentences.sentence(changes),
        tally=sentences.tally(changes),
        warnings=sentences.warnings(changes, inputs.filter_report, tables.leaning(inputs.tuned), missing_suites),
        filter=_filter_sentence(inputs.filter_report),
        rows=[_headline_row(name, change) for name, change in changes.items()],
        breakdown=[
            _breakdown_row(row) for row in inputs.breakdown.filter(pl.col("group") == "all").iter_rows(named=True)
        ],
        figures=_figures(inputs, changes),
        changed=most_changed(inputs.base, inputs.tuned, inputs.questions, per_suite),
    )


def overview(models: Mapping[str, Mapping[str, Change]]) -> Figure:
    """The measures of `labels.ABLATED` of several models in one figure, with a panel for each model."""
    changes = {name: in_order(measures) for name, measures in models.items()}
    return _figure(shares.models(changes), alt_text.models(changes))


@dataclass(frozen=True)
class SweepSection:
    """A sweep's section of the page: its key, what the paper shows for this key, and figures by their models."""

    key: str
    paper: str
    figures: Mapping[str, Figure]


def sweep_section(key: str, table: pl.DataFrame) -> SweepSection:
    """Draws the figures of a sweep's table, as `read_sweep` returns it."""
    paper = sweeps.PAPER[key].text if key in sweeps.PAPER else ""
    figures = {}
    for models, part in sweeps.by_model(table).items():
        rows = sweeps.sweep_rows(part)
        if rows:
            figures[models] = _figure(sweeps.sweep(key, rows), alt_text.sweep(key, rows))
    return SweepSection(key, paper, figures)


def _filter_sentence(report: FilterReport) -> str:
    known = f"{percent(report.known_share)} [{percent(report.known_share_low)}, {percent(report.known_share_high)}]"
    return (
        f"{report.kept:,} of {report.judged:,} prompts kept ({percent(report.kept_share)}); after lucky guesses an "
        f"estimated {known} known: {report.verdict}."
    )


def _headline_row(name: str, change: Change) -> dict[str, str]:
    measure = measure_of(name)
    # Differences of shares are in percentage points: 21% after 67% is 46 points less.
    scale, digits = (100, 1) if measure.is_share else (1, 2)
    low, high = signed(scale * change.delta_low, digits), signed(scale * change.delta_high, digits)
    return {
        "label": measure.label,
        "note": measure.note,
        "better": measure.better,
        "base": level(name, change.base),
        "tuned": level(name, change.tuned),
        "delta": signed(scale * change.delta, digits),
        "interval": f"[{low}, {high}]",
        "n": f"{change.n:,}",
        "verdict": verdict(name, change),
    }


def _breakdown_row(row: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: row[name].replace("_", " ") for name in ("suite", "condition", "measure")}
    low, high = (signed(100 * row[end], 1) for end in ("delta_low", "delta_high"))
    shares = {"base": percent(row["base"]), "tuned": percent(row["tuned"]), "delta": signed(100 * row["delta"], 1)}
    return texts | shares | {"interval": f"[{low}, {high}]", "n": f"{row['n']:,}"}


def _figures(inputs: ModelInputs, changes: Mapping[str, Change]) -> dict[str, Figure]:
    """All figures that have data to draw, by name; the names are those of the files in reports/plots/."""
    charts = {"kept": (shares.kept(inputs.filter_report), alt_text.kept(inputs.filter_report))}
    if changes:
        charts["headline"] = (shares.headline(changes), alt_text.headline(changes))
    if inputs.training.height:
        charts["loss"] = (curves.loss(inputs.training), alt_text.loss(inputs.training))
    if inputs.losses.height:
        charts["aside"] = (curves.validation_loss(inputs.losses), alt_text.validation_loss(inputs.losses))
    steps = curves.step_rows(inputs.steps)
    if steps.height:
        charts["steps"] = (curves.steps(steps), alt_text.steps(steps))
    subjects = shares.subject_rows(inputs.breakdown)
    if subjects.height:
        charts["subjects"] = (shares.subjects(subjects), alt_text.subjects(subjects))
    charts |= _answer_charts(inputs.base, inputs.tuned)
    return {name: _figure(chart, text) for name, (chart, text) in charts.items()}


def _answer_charts(base: pl.DataFrame, tuned: pl.DataFrame) -> dict[str, tuple[alt.TopLevelMixin, str]]:
    accuracy, followed = tables.accuracy(base, tuned), tables.followed(base, tuned)
    sums, others = accuracy.filter(pl.col("suite") == ADDITION), accuracy.filter(pl.col("suite") != ADDITION)
    charts: dict[str, tuple[pl.DataFrame, Callable[[pl.DataFrame], alt.TopLevelMixin], Callable[..., str]]] = {
        "followed": (
            followed,
            shares.followed,
            lambda table: alt_text.shares(table, "Goes with the user", "task"),
        ),
        "additions": (sums, shares.additions, _accuracy_text),
        "accuracy": (others, shares.accuracy, _accuracy_text),
        "quadrants": (tables.quadrants(base, tuned), shares.quadrants, alt_text.quadrants),
        "shifts": (tables.shifts(base, tuned), curves.shifts, alt_text.shifts),
    }
    return {name: (draw(table), describe(table)) for name, (table, draw, describe) in charts.items() if table.height}


def _accuracy_text(shares: pl.DataFrame) -> str:
    return alt_text.shares(shares, "Accuracy by condition", "condition")


def _figure(chart: alt.TopLevelMixin, text: str) -> Figure:
    svg = render(chart, text)
    return Figure(svg, specification(chart), text, *size(svg))
