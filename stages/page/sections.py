"""The parts of the page: a model's words, numbers as text, figures and answers, and a sweep's figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from stages.page.charts import alt_text, curves, shares, sweeps
from stages.page.charts.interactive import specification
from stages.page.charts.svg import render, size
from stages.page.data import sentences, tables
from stages.page.data.changed import SHOWN, ChangedAnswer, changed_most
from stages.page.data.labels import in_order, level, measure_of, percent, signed, verdict
from stages.page.data.model_inputs import ModelInputs
from stages.page.data.report_files import Change, FilterReport

ADDITION = "addition"


@dataclass(frozen=True)
class Figure:
    """A figure as a file, as what the page draws it from (`interactive.specification`), and in words.

    `width` and `height` are the file's, in pixels.
    """

    svg: str
    specification: str
    words: str
    width: float
    height: float


@dataclass(frozen=True)
class ModelPart:
    """One model's part of the page, all in words, numbers as text, and figures by name."""

    name: str
    sentence: str
    tally: str
    warnings: Sequence[str]
    filter: str
    rows: Sequence[Mapping[str, str]]
    breakdown: Sequence[Mapping[str, str]]
    figures: Mapping[str, Figure]
    changed: Sequence[ChangedAnswer]


def answers_of_suite(models: int) -> int:
    """How many answers of each suite each of so many models shows: few of many, so that the page can still be sent."""
    return SHOWN // models


def model_part(inputs: ModelInputs, of_suite: int = SHOWN) -> ModelPart:
    """Draws and words one model's part.

    Beside the answers that changed most, it has the first `of_suite` of each suite.
    """
    changes = in_order(inputs.changes)
    unasked = set(inputs.questions["suite"]) - set(inputs.tuned["suite"])
    return ModelPart(
        name=inputs.name,
        sentence=sentences.sentence(changes),
        tally=sentences.tally(changes),
        warnings=sentences.warnings(changes, inputs.kept, tables.leaning(inputs.tuned), unasked),
        filter=_filter_words(inputs.kept),
        rows=[_headline_row(name, change) for name, change in changes.items()],
        breakdown=[
            _breakdown_row(row) for row in inputs.breakdown.filter(pl.col("group") == "all").iter_rows(named=True)
        ],
        figures=_figures(inputs, changes),
        changed=changed_most(inputs.base, inputs.tuned, inputs.questions, of_suite),
    )


def overview(models: Mapping[str, Mapping[str, Change]]) -> Figure:
    """The measures of several models that are drawn often, in one figure, a panel a model."""
    changes = {name: in_order(measured) for name, measured in models.items()}
    return _figure(shares.models(changes), alt_text.models(changes))


@dataclass(frozen=True)
class SweepPart:
    """A sweep's part of the page: its key, what the paper shows of that, and figures by the models they are of."""

    key: str
    paper: str
    figures: Mapping[str, Figure]


def sweep_part(key: str, table: pl.DataFrame) -> SweepPart:
    """Draws a sweep's table, as `read_sweep` gives it."""
    paper = sweeps.PAPER[key].words if key in sweeps.PAPER else ""
    drawn = {}
    for models, part in sweeps.by_model(table).items():
        rows = sweeps.sweep_rows(part)
        if rows:
            drawn[models] = _figure(sweeps.sweep(key, rows), alt_text.sweep(key, rows))
    return SweepPart(key, paper, drawn)


def _filter_words(kept: FilterReport) -> str:
    known = f"{percent(kept.known_share)} [{percent(kept.known_share_low)}, {percent(kept.known_share_high)}]"
    return (
        f"{kept.kept:,} of {kept.judged:,} prompts kept ({percent(kept.kept_share)}); after lucky guesses an estimated "
        f"{known} known: {kept.verdict}."
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
    """Every figure that there is something to draw for."""
    found = {"kept": (shares.kept(inputs.kept), alt_text.kept(inputs.kept))}
    if changes:
        found["headline"] = (shares.headline(changes), alt_text.headline(changes))
    if inputs.training.height:
        found["loss"] = (curves.loss(inputs.training), alt_text.loss(inputs.training))
    if inputs.losses.height:
        found["aside"] = (curves.aside(inputs.losses), alt_text.validation_loss(inputs.losses))
    steps = curves.step_rows(inputs.steps)
    if steps.height:
        found["steps"] = (curves.steps(steps), alt_text.steps(steps))
    subjects = shares.subject_rows(inputs.breakdown)
    if subjects.height:
        found["subjects"] = (shares.subjects(subjects), alt_text.subjects(subjects))
    found |= _figures_of_answers(inputs.base, inputs.tuned)
    return {name: _figure(chart, told) for name, (chart, told) in found.items()}


def _figures_of_answers(base: pl.DataFrame, tuned: pl.DataFrame) -> dict[str, tuple[alt.TopLevelMixin, str]]:
    right, followed = tables.accuracy(base, tuned), tables.followed(base, tuned)
    sums, others = right.filter(pl.col("suite") == ADDITION), right.filter(pl.col("suite") != ADDITION)
    drawings: dict[str, tuple[pl.DataFrame, Callable[[pl.DataFrame], alt.TopLevelMixin], Callable[..., str]]] = {
        "followed": (
            followed,
            shares.followed,
            lambda table: alt_text.shares(table, "Goes with the user", "task"),
        ),
        "additions": (sums, shares.additions, _accuracy_words),
        "accuracy": (others, shares.accuracy, _accuracy_words),
        "quadrants": (tables.quadrants(base, tuned), shares.quadrants, alt_text.quadrants),
        "shifts": (tables.shifts(base, tuned), curves.shifts, alt_text.shifts),
    }
    return {name: (draw(table), tell(table)) for name, (table, draw, tell) in drawings.items() if table.height}


def _accuracy_words(shares: pl.DataFrame) -> str:
    return alt_text.shares(shares, "Accuracy by condition", "condition")


def _figure(chart: alt.TopLevelMixin, told: str) -> Figure:
    svg = render(chart, told)
    return Figure(svg, specification(chart), told, *size(svg))
