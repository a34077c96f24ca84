"""The figures in words, for whoever cannot see them: the same numbers that are drawn."""

from collections.abc import Mapping

import polars as pl

from stages.page.figures import kept_rows, loss_points
from stages.page.inputs import Change, FilterReport
from stages.page.measures import MEASURES, percent, signed


def headline(changes: Mapping[str, Change]) -> str:
    """Every headline measure, base and tuned."""
    return "Headline measures, base and tuned. " + " ".join(_level(name, change) for name, change in changes.items())


def _level(name: str, change: Change) -> str:
    measure = MEASURES[name]
    if measure.is_share:
        return f"{measure.label}: {percent(change.base)}, {percent(change.tuned)}."
    return f"{measure.label}: {signed(change.base, 2)}, {signed(change.tuned, 2)}."


def kept(report: FilterReport) -> str:
    """Every kept share, by kind of prompt."""
    words: dict[str, list[str]] = {}
    for row in kept_rows(report):
        words.setdefault(row["kind"], []).append(f"{row['value']} {percent(row['share'])} of {row['judged']:,}")
    return "Share of prompts kept. " + " ".join(f"{kind}: {', '.join(shares)}." for kind, shares in words.items())


def loss(training: pl.DataFrame) -> str:
    """Where the running mean of the loss starts, and where it ends."""
    points = loss_points(training).drop_nulls("running").rows(named=True)
    if not points:
        return "Training loss: no steps."
    first, last = points[0], points[-1]
    return (
        f"Training loss, running mean: {first['running']:.3f} at step {first['step']:,}, "
        f"{last['running']:.3f} at step {last['step']:,}."
    )


def accuracy(shares: pl.DataFrame) -> str:
    """Every accuracy with its interval, by suite, condition and variant."""
    return "Accuracy by condition. " + " ".join(
        f"{row['suite']}, {row['condition'].replace('_', ' ')}, {row['variant']}: {percent(row['share'])} "
        f"[{percent(row['low'])}, {percent(row['high'])}]."
        for row in shares.iter_rows(named=True)
    )
