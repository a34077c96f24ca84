"""The report page: one HTML file with everything in it, no script, opened from disk."""

import platform
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.page import alternatives, answers, figures
from stages.page.inputs import Change, Counts, FilterReport, Shortcut, Validation
from stages.page.measures import MEASURES, percent, sentence, signed, tally, verdict, warnings
from stages.page.sources import source_table
from stages.page.svg import render

FOLDER = Path(__file__).parent

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "dvc", "datasets", "polars", "tokenizers")

CHANGED_MOST = 12


@dataclass(frozen=True)
class ModelInputs:
    """What the page is told about one model; `base` and `tuned` are ANSWERS tables."""

    name: str
    changes: Mapping[str, Change]
    kept: FilterReport
    training: pl.DataFrame
    base: pl.DataFrame
    tuned: pl.DataFrame


@dataclass(frozen=True)
class Figure:
    """A figure in SVG, with the name that its file carries."""

    name: str
    svg: str


@dataclass(frozen=True)
class ModelPart:
    """One model's part of the page, all in words, numbers as text, and SVG."""

    name: str
    sentence: str
    tally: str
    warnings: Sequence[str]
    filter: str
    rows: Sequence[Mapping[str, str]]
    figures: Mapping[str, Figure]
    changed: Sequence[Mapping[str, str]]


def model_part(inputs: ModelInputs, prefix: str) -> ModelPart:
    """Draws and words one model's part; `prefix` starts every SVG id and is the part's own on the page."""
    changes = {name: inputs.changes[name] for name in MEASURES if name in inputs.changes}
    return ModelPart(
        name=inputs.name,
        sentence=sentence(changes),
        tally=tally(changes),
        warnings=warnings(changes, inputs.kept),
        filter=_filter_words(inputs.kept),
        rows=[_headline_row(name, change) for name, change in changes.items()],
        figures=_figures(inputs, changes, prefix),
        changed=[_changed_row(row) for row in _changed(inputs)],
    )


def page(
    parts: Sequence[ModelPart],
    counts: Counts,
    validation: Validation,
    shortcuts: Mapping[str, Shortcut],
    versions: Mapping[str, str],
) -> str:
    """The whole page as HTML; every text that comes from data or a model's name is escaped."""
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Ours and Vega's markup; Vega escapes the texts that it draws.
    environment.filters["drawn"] = Markup
    return environment.get_template("template.html").render(
        style=Markup(style),
        # The policy allows this one style sheet by its hash, and nothing else at all.
        style_hash=b64encode(sha256(style.encode()).digest()).decode(),
        parts=parts,
        sources=source_table(validation.datasets),
        total=validation.total,
        rows=_count_table(counts.rows),
        instructions=_count_table(counts.instructions),
        shortcuts=_shortcut_table(shortcuts),
        versions=versions,
    )


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that the numbers depend on."""
    return {"Python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _filter_words(kept: FilterReport) -> str:
    known = f"{percent(kept.known_share)} [{percent(kept.known_share_low)}, {percent(kept.known_share_high)}]"
    return (
        f"{kept.kept:,} of {kept.judged:,} prompts kept ({percent(kept.kept_share)}); after lucky guesses an estimated "
        f"{known} known: {kept.verdict}."
    )


def _headline_row(name: str, change: Change) -> dict[str, str]:
    measure = MEASURES[name]
    level = percent if measure.is_share else lambda number: signed(number, 2)
    # Differences of shares are in percentage points: 21% after 67% is 46 points less.
    scale, digits = (100, 1) if measure.is_share else (1, 2)
    low, high = signed(scale * change.delta_low, digits), signed(scale * change.delta_high, digits)
    return {
        "label": measure.label,
        "note": measure.note,
        "better": measure.better,
        "base": level(change.base),
        "tuned": level(change.tuned),
        "delta": signed(scale * change.delta, digits),
        "interval": f"[{low}, {high}]",
        "n": f"{change.n:,}",
        "verdict": verdict(name, change),
    }


def _figures(inputs: ModelInputs, changes: Mapping[str, Change], prefix: str) -> dict[str, Figure]:
    shares = answers.accuracy(inputs.base, inputs.tuned)
    drawings: dict[str, tuple[alt.TopLevelMixin, str]] = {
        "kept": (figures.kept(inputs.kept), alternatives.kept(inputs.kept)),
        "loss": (figures.loss(inputs.training), alternatives.loss(inputs.training)),
        "accuracy": (figures.accuracy(shares), alternatives.accuracy(shares)),
    }
    if changes:
        drawings["headline"] = (figures.headline(changes), alternatives.headline(changes))
    return {name: Figure(name, render(chart, f"{prefix}-{name}", words)) for name, (chart, words) in drawings.items()}


def _changed(inputs: ModelInputs) -> list[dict[str, Any]]:
    return answers.changed_most(inputs.base, inputs.tuned, CHANGED_MOST).to_dicts()


def _changed_row(row: Mapping[str, Any]) -> dict[str, str]:
    texts = {key: str(row[key]) for key in ("question", "suite", "condition")}
    numbers = {key: signed(row[key], 2) for key in ("base", "tuned")}
    return texts | numbers | {"change": signed(row["tuned"] - row["base"], 2)}


def _count_table(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    columns = list(dict.fromkeys(column for row in counts.values() for column in row))
    texts = {name: [f"{row[column]:,}" if column in row else "–" for column in columns] for name, row in counts.items()}
    return {"columns": [column.replace("_", " ") for column in columns], "rows": texts}


def _shortcut_table(shortcuts: Mapping[str, Shortcut]) -> dict[str, Any]:
    rows = {
        name.replace("_", " "): [
            "–" if share is None else percent(share) for share in (rule.training_prompts, rule.held_out_claims)
        ]
        for name, rule in shortcuts.items()
    }
    return {"columns": ["training prompts", "held-out claims"], "rows": rows}
