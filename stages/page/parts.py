"""The parts of the page: a model's words, numbers as text, figures and answers, and a sweep's figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from stages.page import alternatives, answers, curves, figures, sweeps, words
from stages.page.changed import SHOWN, ChangedAnswer, changed_most
from stages.page.inputs import Change, FilterReport
from stages.page.interactive import specification
from stages.page.measures import in_order, level, measure_of, percent, signed, verdict
from stages.page.svg import render, size

ADDITION = "addition"


@dataclass(frozen=True)
class ModelInputs:
    """What the page is told about one model.

    `base` and `tuned` are ANSWERS tables, `questions` the QUESTIONS that they answer; `training`, `losses`, `behind`
    and `steps` are as `read_training`, `read_losses`, `read_behind` and `read_steps` give them.
    """

    name: str
    changes: Mapping[str, Change]
    kept: FilterReport
    training: pl.DataFrame
    losses: pl.DataFrame
    base: pl.DataFrame
    tuned: pl.DataFrame
    questions: pl.DataFrame
    behind: pl.DataFrame
    steps: pl.DataFrame


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
    behind: Sequence[Mapping[str, str]]
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
        sentence=words.sentence(changes),
        tally=words.tally(changes),
        warnings=words.warnings(changes, inputs.kept, answers.leaning(inputs.tuned), unasked),
        filter=_filter_words(inputs.kept),
        rows=[_headline_row(name, change) for name, change in changes.items()],
        behind=[_behind_row(row) for row in inputs.behind.filter(pl.col("group") == "all").iter_rows(named=True)],
        figures=_figures(inputs, changes),
        changed=changed_most(inputs.base, inputs.tuned, inputs.questions, of_suite),
    )


def overview(models: Mapping[str, Mapping[str, Change]]) -> Figure:
    """The measures of several models that are drawn often, in one figure, a panel a model."""
    changes = {name: in_order(measured) for name, measured in models.items()}
    return _figure(figures.models(changes), alternatives.models(changes))


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
            drawn[models] = _figure(sweeps.sweep(key, rows), alternatives.sweep(key, rows))
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


def _behind_row(row: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: row[name].replace("_", " ") for name in ("suite", "condition", "measure")}
    low, high = (signed(100 * row[end], 1) for end in ("delta_low", "delta_high"))
    shares = {"base": percent(row["base"]), "tuned": percent(row["tuned"]), "delta": signed(100 * row["delta"], 1)}
    return texts | shares | {"interval": f"[{low}, {high}]", "n": f"{row['n']:,}"}


def _figures(inputs: ModelInputs, changes: Mapping[str, Change]) -> dict[str, Figure]:
    """Every figure that there is something to draw for."""
    found = {"kept": (figures.kept(inputs.kept), alternatives.kept(inputs.kept))}
    if changes:
        found["headline"] = (figures.headline(changes), alternatives.headline(changes))
    if inputs.training.height:
        found["loss"] = (curves.loss(inputs.training), alternatives.loss(inputs.training))
    if inputs.losses.height:
        found["aside"] = (curves.aside(inputs.losses), alternatives.aside(inputs.losses))
    steps = curves.step_rows(inputs.steps)
    if steps.height:
        found["steps"] = (curves.steps(steps), alternatives.steps(steps))
    subjects = figures.subject_rows(inputs.behind)
    if subjects.height:
        found["subjects"] = (figures.subjects(subjects), alternatives.subjects(subjects))
    found |= _figures_of_answers(inputs.base, inputs.tuned)
    return {name: _figure(chart, told) for name, (chart, told) in found.items()}


def _figures_of_answers(base: pl.DataFrame, tuned: pl.DataFrame) -> dict[str, tuple[alt.TopLevelMixin, str]]:
    right, followed = answers.accuracy(base, tuned), answers.followed(base, tuned)
    sums, others = right.filter(pl.col("suite") == ADDITION), right.filter(pl.col("suite") != ADDITION)
    drawings: dict[str, tuple[pl.DataFrame, Callable[[pl.DataFrame], alt.TopLevelMixin], Callable[..., str]]] = {
        "followed": (
            followed,
            figures.followed,
            lambda table: alternatives.shares(table, "Goes with the user", "task"),
        ),
        "additions": (sums, figures.additions, _accuracy_words),
        "accuracy": (others, figures.accuracy, _accuracy_words),
        "quadrants": (answers.quadrants(base, tuned), figures.quadrants, alternatives.quadrants),
        "shifts": (answers.shifts(base, tuned), curves.shifts, alternatives.shifts),
    }
    return {name: (draw(table), tell(table)) for name, (table, draw, tell) in drawings.items() if table.height}


def _accuracy_words(shares: pl.DataFrame) -> str:
    return alternatives.shares(shares, "Accuracy by condition", "condition")


def _figure(chart: alt.TopLevelMixin, told: str) -> Figure:
    svg = render(chart, told)
    return Figure(svg, specification(chart), told, *size(svg))
