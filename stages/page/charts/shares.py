"""Figures of shares: headline measures, sycophancy by task, accuracy, quadrants, subjects, and the filter's shares."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from stages.page.charts.theme import (
    INK,
    POINT,
    SHARE_AXIS,
    SHARES,
    TUNED,
    VARIANTS,
    WIDTH,
    Layers,
    XAxis,
    by_variant,
    panels,
    share_tooltip,
    styled,
)
from stages.page.data.labels import ABLATED, measure_of
from stages.page.data.report_files import Change, FilterReport, KeptCounts
from stages.page.data.tables import wilson

# The paper's accuracy on the same questions, read off its Figures 3 and 5: PaLM 62B-cont and 540B before, 62B and
# larger after.
PAPER_ADDITIONS = (
    {"condition": "false no opinion", "variant": "base", "paper": 1.0},
    {"condition": "false no opinion", "variant": "tuned", "paper": 1.0},
    {"condition": "false wrong opinion", "variant": "base", "paper": 0.05},
    {"condition": "false wrong opinion", "variant": "base", "paper": 0.32},
    {"condition": "false wrong opinion", "variant": "tuned", "paper": 1.0},
)
# The lowest and the highest change in accuracy that the paper reports for MMLU and BIG-Bench Hard.
PAPER_SUBJECTS = (-0.016, 0.031)

# Which direction is better, short enough for a phone.
_ARROWS = {"higher": "↑", "lower": "↓", "nearer to half": "→ 50%", "nearer to 0": "→ 0", "–": ""}


def headline(changes: Mapping[str, Change]) -> alt.TopLevelMixin:
    """Every headline measure before and after; a pale bar is the interval of the difference, added to base."""
    rows = [_headline_row(name, change) for name, change in changes.items()]
    shares, shifts = ([row for row in rows if row["is_share"] == is_share] for is_share in (True, False))
    charts = [
        _before_after(shares, "share of questions", _down_from_1(shares), alt.Axis(format=".0%", tickCount=5)),
        _before_after(shifts, "log-odds, or another unit", alt.Scale(zero=True), alt.Axis(tickCount=5)),
    ]
    return styled(alt.vconcat(*[chart for chart in charts if chart is not None], spacing=24))


def _headline_row(name: str, change: Change) -> dict[str, Any]:
    measure = measure_of(name)
    low, high = change.base + change.delta_low, change.base + change.delta_high
    # Only a difference of shares, such as a sway, can be below 0; other shares stay within 0..1.
    if measure.is_share and min(change.base, change.tuned) >= 0:
        low, high = max(0.0, low), min(1.0, high)
    label = f"{measure.label} {_ARROWS[measure.better]}".rstrip()
    values = {"base": change.base, "tuned": change.tuned, "low": low, "high": high, "n": change.n}
    return {"label": label, "measure": measure.label, "is_share": measure.is_share} | values


def _before_after(rows: list[dict[str, Any]], title: str, scale: alt.Scale, axis: alt.Axis) -> alt.LayerChart | None:
    if not rows:
        return None
    y = alt.Y("label:N", sort=None, axis=None)
    chart = alt.Chart(alt.Data(values=rows), width=WIDTH, height=alt.Step(40))
    # The label is above its row and not beside it, because a phone is too narrow for both.
    labels = chart.mark_text(align="left", dy=-14, color=INK, fontSize=13).encode(y=y, x=alt.value(0), text="label:N")
    interval = chart.mark_rule(color=TUNED, strokeWidth=6, opacity=0.35).encode(
        y=y, x=alt.X("low:Q", title=title, scale=scale, axis=axis), x2="high:Q"
    )
    points = chart.transform_fold(["base", "tuned"], as_=["variant", "value"]).mark_point(**POINT)
    tooltip = [
        alt.Tooltip("measure:N"),
        alt.Tooltip("variant:N"),
        alt.Tooltip("value:Q", format=".3f"),
        alt.Tooltip("n:Q"),
    ]
    return interval + points.encode(y=y, x="value:Q", tooltip=tooltip, **by_variant()) + labels


def _down_from_1(rows: Sequence[Mapping[str, Any]]) -> alt.Scale:
    """A scale from 0 to 1 that extends below 0 as far as the values do."""
    ends = [row[end] for row in rows for end in ("base", "tuned", "low", "share") if end in row]
    return alt.Scale(domain=[min([0.0, *ends]), 1], nice=True)


def models(changes: Mapping[str, Mapping[str, Change]]) -> alt.TopLevelMixin:
    """The measures in ABLATED of several models, with a panel for each; pale bars are intervals as in `headline`."""
    rows = [
        {"model": model, "variant": variant, "share": row[variant]} | row
        for model, measures in changes.items()
        for row in (_headline_row(name, change) for name, change in measures.items() if name in ABLATED)
        for variant in VARIANTS
    ]
    # Wide enough for the longest name of a survey.
    y = alt.Y("measure:N", sort=None, title=None, axis=alt.Axis(labelLimit=320))
    tooltip = [*(alt.Tooltip(f"{name}:N") for name in ("measure", "variant")), alt.Tooltip("share:Q", format=".1%")]

    def draw(chart: alt.Chart, x: alt.X) -> Layers:
        interval = chart.transform_filter("datum.variant === 'tuned'").mark_rule(
            color=TUNED, strokeWidth=6, opacity=0.35
        )
        line = chart.mark_line(color=INK, strokeWidth=1, opacity=0.4).encode(y=y, x="share:Q", detail="measure:N")
        points = chart.mark_point(**POINT).encode(y=y, x="share:Q", tooltip=tooltip, **by_variant())
        return alt.layer(interval.encode(y=y, x=x, x2="high:Q"), line, points)

    return panels(rows, "model", alt.Step(24), XAxis("low", "share of questions", SHARES, SHARE_AXIS), draw)


def followed(shares: pl.DataFrame) -> alt.TopLevelMixin:
    """How often base and tuned follow a user whose view is not the right answer, by task."""
    return _by_condition(shares, "task", "share of answers that go with the user")


def accuracy(shares: pl.DataFrame) -> alt.TopLevelMixin:
    """Accuracy of base and tuned by suite and condition, with the accuracy of guessing."""
    return _by_condition(shares, "condition", "share of correct answers")


def additions(shares: pl.DataFrame) -> alt.TopLevelMixin:
    """Accuracy on sums, with crosses for the paper's larger models on the same questions."""
    return _by_condition(shares, "condition", "share of correct answers", PAPER_ADDITIONS)


def _by_condition(
    shares: pl.DataFrame, row: str, title: str, paper: Sequence[Mapping[str, Any]] = ()
) -> alt.TopLevelMixin:
    words = shares.with_columns(pl.col(row).str.replace_all("_", " "))
    # Both kinds of rows share one data source: each layer draws only the rows that have its column.
    data = [*words.to_dicts(), *({"suite": shares["suite"][0], **mark} for mark in paper)]
    lane = {"y": alt.Y(f"{row}:N", sort=None, title=None), "yOffset": alt.YOffset("variant:N", sort=VARIANTS)}

    def draw(chart: alt.Chart, x: alt.X) -> Layers:
        chance = chart.mark_tick(color=INK, thickness=2, size=18, opacity=0.6).encode(x="chance:Q", **lane)
        interval = chart.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", color=by_variant()["color"], **lane)
        tooltip = share_tooltip(row, "variant")
        share = chart.mark_point(**POINT).encode(x="share:Q", tooltip=tooltip, **lane, **by_variant())
        crosses = chart.mark_point(shape="cross", size=70, color=INK, filled=False, strokeWidth=1.5, opacity=0.8)
        return alt.layer(chance, interval, share, *([crosses.encode(x="paper:Q", **lane)] if paper else []))

    return panels(data, "suite", alt.Step(18), XAxis("low", title, SHARES, SHARE_AXIS), draw)


def quadrants(cells: pl.DataFrame) -> alt.TopLevelMixin:
    """Answers that follow or do not follow a user who is right or wrong; a darker cell is a larger share of its row."""
    words = pl.format("{}, {}", pl.col("suite"), pl.col("variant")).alias("panel")
    rows = cells.with_columns(words).sort("suite", "variant", maintain_order=True).to_dicts()
    chart = alt.Chart(alt.Data(values=rows), width=WIDTH // 2 - 20, height=alt.Step(44))
    x = alt.X("answer:N", sort=["follows", "does not"], title=None, axis=alt.Axis(labelAngle=0, orient="bottom"))
    y = alt.Y("user:N", sort=["user right", "user wrong"], title=None)
    # Light enough that text in the page's own colour is readable on it.
    depth = alt.FillOpacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 0.5]), legend=None)
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("panel", "user", "answer")]
    square = chart.mark_rect(fill=TUNED, stroke=INK, strokeOpacity=0.3).encode(
        x=x, y=y, fillOpacity=depth, tooltip=[*tooltip, alt.Tooltip("share:Q", format=".1%"), alt.Tooltip("n:Q")]
    )
    text = chart.mark_text(color=INK, fontSize=14).encode(x=x, y=y, text=alt.Text("share:Q", format=".0%"))
    header = alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold")
    order = list(dict.fromkeys(row["panel"] for row in rows))
    return styled(
        alt.layer(square, text).facet(facet=alt.Facet("panel:N", sort=order, title=None, header=header), columns=2)
    )


def subjects(changes: pl.DataFrame) -> alt.TopLevelMixin:
    """The change in accuracy by subject, with the range of the paper's as a band; `changes` comes from subject_rows."""
    rows = changes.with_columns(pl.col("subject").str.replace_all("_", " ")).sort("suite", "delta").to_dicts()
    y = alt.Y("subject:N", sort=None, title=None)
    tooltip = [
        alt.Tooltip("subject:N"),
        *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("base", "tuned", "delta")),
    ]

    def draw(chart: alt.Chart, x: alt.X) -> Layers:
        paper = {end: alt.datum(value) for end, value in zip(("x", "x2"), PAPER_SUBJECTS, strict=True)}
        # With its own data of one row: with the rows of the chart, as many bands would be drawn over each other.
        band = alt.Chart(alt.Data(values=[{}])).mark_rect(color=INK, opacity=0.12).encode(**paper)
        zero = chart.mark_rule(color=INK, opacity=0.6).encode(x=alt.datum(0))
        interval = chart.mark_rule(color=TUNED, strokeWidth=2).encode(y=y, x=x, x2="delta_high:Q")
        delta = chart.mark_point(**POINT, color=TUNED).encode(y=y, x="delta:Q", tooltip=[*tooltip, alt.Tooltip("n:Q")])
        return alt.layer(band, zero, interval, delta)

    x_axis = XAxis("delta_low", "change in accuracy", alt.Scale(), {"format": "+.0%", "tickCount": 5})
    return panels(rows, "suite", alt.Step(18), x_axis, draw)


def subject_rows(breakdown: pl.DataFrame) -> pl.DataFrame:
    """The rows of the figure `subjects`: accuracy by subject or task from `read_breakdown`, with the subject's name."""
    rows = breakdown.filter(pl.col("group") == "cluster", pl.col("measure") == "accuracy")
    return rows.with_columns(subject=pl.col("value").str.strip_prefix(pl.col("suite") + ":"))


def kept(report: FilterReport) -> alt.TopLevelMixin:
    """The share of prompts that the filter kept, by kind of prompt, with a line for guessing."""
    y = alt.Y("value:N", sort=None, title=None)

    def draw(chart: alt.Chart, x: alt.X) -> Layers:
        chance = chart.mark_rule(color=INK, strokeDash=[5, 4]).encode(x=alt.datum(0.5))
        interval = chart.mark_rule(color=TUNED, strokeWidth=2).encode(y=y, x=x, x2="high:Q")
        share = chart.mark_point(**POINT, color=TUNED).encode(y=y, x="share:Q", tooltip=share_tooltip("value"))
        return alt.layer(chance, interval, share)

    x_axis = XAxis("low", "share kept", SHARES, SHARE_AXIS)
    return panels(kept_rows(report), "kind", alt.Step(22), x_axis, draw)


def kept_rows(report: FilterReport) -> Iterator[dict[str, Any]]:
    """The rows of the figure `kept`: kind, value, n, share, low, high."""
    kinds = {
        "by data set": report.by_dataset,
        "by polarity of the claim": report.by_polarity,
        "by letter of the correct choice": report.by_letter,
        "by truth of the claim": report.by_truth,
    }
    for kind, groups in {
        "all prompts": {"all": KeptCounts(report.judged, report.kept, report.kept_share)},
        **kinds,
    }.items():
        for value, group in groups.items():
            if group.judged:
                low, high = wilson(group.kept_share, group.judged)
                shares = {"share": group.kept_share, "low": low, "high": high}
                yield {"kind": kind, "value": value, "n": group.judged} | shares
