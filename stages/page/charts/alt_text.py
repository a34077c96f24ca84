"""Text alternatives of the figures: the numbers that are drawn, as sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from stages.page.charts.curves import loss_points
from stages.page.charts.shares import kept_rows
from stages.page.data.labels import ABLATED, level, measure_of, percent, signed
from stages.page.data.report_files import Change, FilterReport


def headline(changes: Mapping[str, Change]) -> str:
    """Every headline measure, base and tuned."""
    return "Headline measures, base and tuned. " + " ".join(_level(name, change) for name, change in changes.items())


def models(changes: Mapping[str, Mapping[str, Change]]) -> str:
    """The measures in ABLATED of several models."""
    return " ".join(
        f"{model}. "
        + " ".join(_level(name, change) for name, change in measures.items() if name in ABLATED)
        for model, measures in changes.items()
    )  # fmt: skip


def _level(name: str, change: Change) -> str:
    return f"{measure_of(name).label}: {level(name, change.base)}, {level(name, change.tuned)}."


def kept(report: FilterReport) -> str:
    """Every kept share, by kind of prompt."""
    by_kind: dict[str, list[str]] = {}
    for row in kept_rows(report):
        by_kind.setdefault(row["kind"], []).append(f"{row['value']} {percent(row['share'])} of {row['n']:,}")
    return "Share of prompts kept. " + " ".join(f"{kind}: {', '.join(shares)}." for kind, shares in by_kind.items())


def loss(training: pl.DataFrame) -> str:
    """The first and the last value of the loss's running mean."""
    points = loss_points(training).drop_nulls("running").rows(named=True)
    if not points:
        return "Training loss: no steps."
    first, last = points[0], points[-1]
    return (
        f"Training loss, running mean: {first['running']:.3f} at step {first['step']:,}, "
        f"{last['running']:.3f} at step {last['step']:,}."
    )


def validation_loss(losses: pl.DataFrame) -> str:
    """Each source's validation loss at the first and the last step where it was measured."""
    sources = losses.group_by("source", maintain_order=True).agg(
        pl.col("step").first(), pl.col("loss").first(), last_step=pl.col("step").last(), last=pl.col("loss").last()
    )
    return "Loss on rows set aside. " + " ".join(
        f"{row['source']}: {row['loss']:.3f} at step {row['step']:,}, {row['last']:.3f} at step {row['last_step']:,}."
        for row in sources.iter_rows(named=True)
    )


def steps(curve: pl.DataFrame) -> str:
    """Every measure's value after each of the steps."""
    return "Measures by step. " + " ".join(
        f"{label}: " + ", ".join(f"{percent(value)} at step {step:,}" for step, value in rows.rows()) + "."
        for (label,), rows in curve.group_by("label", maintain_order=True)
        for rows in [rows.select("step", "value")]
    )


def shares(table: pl.DataFrame, title: str, column: str) -> str:
    """Every share with its interval, by suite, value of `column`, and variant."""
    return f"{title}. " + " ".join(
        f"{_words(row['suite'])}, {_words(row[column])}, {row['variant']}: {percent(row['share'])} "
        f"[{percent(row['low'])}, {percent(row['high'])}]."
        for row in table.iter_rows(named=True)
    )


def quadrants(cells: pl.DataFrame) -> str:
    """Every cell's share of the answers to a user who is right or wrong."""
    return "How answers relate to the user. " + " ".join(
        f"{_words(row['suite'])}, {row['variant']}, {row['user']}, answer {row['answer']}: {percent(row['share'])}."
        for row in cells.sort("suite", "variant", "user", "answer").iter_rows(named=True)
    )


def shifts(table: pl.DataFrame) -> str:
    """The median and the quartiles of the shifts, base and tuned."""
    shift = pl.col("shift")
    spread = table.group_by("variant", maintain_order=True).agg(
        pl.len().alias("n"), low=shift.quantile(0.25), median=shift.median(), high=shift.quantile(0.75)
    )
    return "Log-odds shift to a wrong opinion. " + " ".join(
        f"{row['variant']}: median {signed(row['median'], 2)}, middle half {signed(row['low'], 2)} to "
        f"{signed(row['high'], 2)}, {row['n']:,} claims."
        for row in spread.iter_rows(named=True)
    )


def sweep(key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Every measure with each setting, base and tuned; `rows` alternate between the two."""
    by_measure: dict[str, list[str]] = {}
    for base, tuned in zip(rows[::2], rows[1::2], strict=True):
        by_measure.setdefault(base["panel"], []).append(
            f"{percent(base['share'])} to {percent(tuned['share'])} with {base['setting']}"
        )
    return f"Sweep of {key}, base to tuned. " + " ".join(
        f"{label}: {', '.join(levels)}." for label, levels in by_measure.items()
    )


def subjects(changes: pl.DataFrame) -> str:
    """Every subject's change in accuracy, in percentage points."""
    return "Change in accuracy by subject. " + " ".join(
        f"{_words(row['suite'])}, {_words(row['subject'])}: {signed(100 * row['delta'], 1)}."
        for row in changes.iter_rows(named=True)
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
