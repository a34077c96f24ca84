"""The page's figures as Altair charts: headline measures, kept shares, training loss, accuracy by condition.

Colours are Okabe and Ito's blue and vermillion, told apart by any eye; base and tuned differ in shape too. Text and
lines take the page's own colour (`currentColor`), so that one drawing serves light, dark and paper.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from stages.page.answers import wilson
from stages.page.inputs import Change, FilterReport, Kept
from stages.page.measures import MEASURES

BASE, TUNED = "#D55E00", "#0072B2"
INK = "currentColor"

# Pixels; with its labels a figure stays under 520, two of which fit beside each other on a laptop.
WIDTH = 340
MOST_POINTS = 200

_VARIANTS: Sequence[Any] = ["base", "tuned"]
_SHARE_AXIS = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".0%")
_SHARES = alt.Scale(domain=[0, 1])
_POINT: dict[str, Any] = {"size": 70, "strokeWidth": 2, "opacity": 1, "filled": True}


def headline(changes: Mapping[str, Change]) -> alt.TopLevelMixin:
    """Every headline measure before and after; a pale bar is the difference's interval, laid off from base."""
    rows = [_headline_row(name, change) for name, change in changes.items()]
    shares, shifts = ([row for row in rows if row["is_share"] == is_share] for is_share in (True, False))
    panels = [
        _before_after(shares, "share of questions", _SHARES, _SHARE_AXIS),
        _before_after(shifts, "shift in log-odds", alt.Scale(zero=True), alt.Axis(tickCount=5)),
    ]
    return _styled(alt.vconcat(*[panel for panel in panels if panel is not None], spacing=24))


def _headline_row(name: str, change: Change) -> dict[str, Any]:
    measure = MEASURES[name]
    low, high = change.base + change.delta_low, change.base + change.delta_high
    if measure.is_share:
        low, high = max(0.0, low), min(1.0, high)
    label = f"{measure.label} ({measure.better} is better)"
    values = {"base": change.base, "tuned": change.tuned, "low": low, "high": high}
    return {"label": label, "is_share": measure.is_share} | values


def _before_after(rows: list[dict[str, Any]], title: str, scale: alt.Scale, axis: alt.Axis) -> alt.LayerChart | None:
    if not rows:
        return None
    y = alt.Y("label:N", sort=None, axis=None)
    chart = alt.Chart(alt.Data(values=rows), width=WIDTH, height=alt.Step(40))
    # The label stands over its row, not beside it: a phone is too narrow for both.
    labels = chart.mark_text(align="left", dy=-14, color=INK, fontSize=13).encode(y=y, x=alt.value(0), text="label:N")
    interval = chart.mark_rule(color=TUNED, strokeWidth=6, opacity=0.35).encode(
        y=y, x=alt.X("low:Q", title=title, scale=scale, axis=axis), x2="high:Q"
    )
    points = chart.transform_fold(["base", "tuned"], as_=["variant", "value"]).mark_point(**_POINT)
    return interval + points.encode(y=y, x="value:Q", **_by_variant()) + labels


def _by_variant() -> dict[str, Any]:
    legend = alt.Legend(title=None, orient="top")
    return {
        "color": alt.Color("variant:N", scale=alt.Scale(domain=_VARIANTS, range=[BASE, TUNED]), legend=legend),
        "shape": alt.Shape("variant:N", scale=alt.Scale(domain=_VARIANTS, range=["circle", "diamond"]), legend=legend),
    }


def kept(report: FilterReport) -> alt.TopLevelMixin:
    """The share of prompts that the filter kept, by kind of prompt, with the line that guessing would reach."""
    rows = list(kept_rows(report))
    chart = alt.Chart(alt.Data(values=rows), width=WIDTH, height=alt.Step(24))
    y = alt.Y("value:N", sort=None, title=None)
    x = alt.X("low:Q", title="share kept", scale=_SHARES, axis=_SHARE_AXIS)
    # Aggregated to one line a panel: one for every row would draw dashes over dashes.
    chance = chart.mark_rule(color=INK, strokeDash=[5, 4]).encode(x="max(chance):Q")
    interval = chart.mark_rule(color=TUNED, strokeWidth=2).encode(y=y, x=x, x2="high:Q")
    share = chart.mark_point(**_POINT, color=TUNED).encode(y=y, x="share:Q")
    return _panels(alt.layer(chance, interval, share), "kind", [row["kind"] for row in rows])


def kept_rows(report: FilterReport) -> Iterator[dict[str, Any]]:
    """The rows of the figure `kept`: kind, value, judged, share, low, high, chance."""
    kinds = {
        "by data set": report.by_dataset,
        "by polarity of the claim": report.by_polarity,
        "by letter of the correct choice": report.by_letter,
        "by truth of the claim": report.by_truth,
    }
    for kind, groups in {"all prompts": {"all": Kept(report.judged, report.kept, report.kept_share)}, **kinds}.items():
        for value, group in groups.items():
            if group.judged:
                low, high = wilson(group.kept_share, group.judged)
                shares = {"share": group.kept_share, "low": low, "high": high, "chance": 0.5}
                yield {"kind": kind, "value": value, "judged": group.judged} | shares


def loss(training: pl.DataFrame) -> alt.TopLevelMixin:
    """The training loss by step, thin as it was and bold as a running mean."""
    rows = loss_points(training).to_dicts()
    chart = alt.Chart(alt.Data(values=rows), width=WIDTH + 90, height=220)
    x = alt.X(
        "step:Q",
        title="optimizer step",
        scale=alt.Scale(nice=False),
        axis=alt.Axis(format="d", tickMinStep=1, tickCount=6),
    )
    raw = chart.mark_line(color=TUNED, strokeWidth=1, opacity=0.45).encode(
        x=x, y=alt.Y("loss:Q", title="loss (natural log)", scale=alt.Scale(zero=True))
    )
    return _styled(raw + chart.mark_line(color=TUNED, strokeWidth=2.5).encode(x=x, y="running:Q"))


def loss_points(training: pl.DataFrame) -> pl.DataFrame:
    """At most `MOST_POINTS` rows of step, loss and its running mean; more steps than that are averaged in windows."""
    # JSON has no NaN; a gap in the curve is what it means.
    curve = training.with_columns(pl.col("loss").fill_nan(None))
    curve = curve.with_columns(
        running=pl.col("loss").rolling_mean(max(1, curve.height // 20), min_samples=1, center=True)
    )
    window = -(-curve.height // MOST_POINTS) or 1
    windows = curve.with_row_index("index").group_by(pl.col("index") // window, maintain_order=True)
    return windows.agg(pl.col("step").last(), pl.col("loss", "running").mean()).drop("index")


def accuracy(shares: pl.DataFrame) -> alt.TopLevelMixin:
    """Accuracy of base and tuned model by suite and condition, with what guessing would get."""
    words = pl.col("condition").str.replace_all("_", " ")
    chart = alt.Chart(alt.Data(values=shares.with_columns(words).to_dicts()), width=WIDTH, height=alt.Step(20))
    y = alt.Y("condition:N", sort=None, title=None)
    offset = alt.YOffset("variant:N", sort=_VARIANTS)
    x = alt.X("low:Q", title="share of correct answers", scale=_SHARES, axis=_SHARE_AXIS)
    chance = chart.mark_tick(color=INK, thickness=2, size=28, opacity=0.6).encode(y=y, x=alt.X("chance:Q"))
    interval = chart.mark_rule(strokeWidth=2).encode(
        y=y, yOffset=offset, x=x, x2="high:Q", color=_by_variant()["color"]
    )
    share = chart.mark_point(**_POINT).encode(y=y, yOffset=offset, x="share:Q", **_by_variant())
    return _panels(alt.layer(interval, chance, share), "suite", shares["suite"].to_list())


def _panels(layers: alt.LayerChart | alt.FacetChart, column: str, values: list[str]) -> alt.TopLevelMixin:
    """One panel under another for each value of `column`, in the order of their first appearance."""
    header = alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold")
    row = alt.Row(column, type="nominal", sort=list(dict.fromkeys(values)), title=None, header=header)
    return _styled(layers.facet(row=row).resolve_scale(y="independent"))


def _styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    # `sans-serif` is a font everywhere; a white ground makes the files of reports/plots/ readable in a dark viewer.
    axis = {"labelColor": INK, "titleColor": INK, "gridColor": INK, "domainColor": INK, "tickColor": INK}
    sizes = {"labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal", "gridOpacity": 0.15}
    return (
        chart.configure(font="sans-serif", aria=False, background="white", padding=4)
        .configure_axis(**axis, **sizes, labelLimit=200)
        .configure_legend(labelColor=INK, labelFontSize=13, symbolOpacity=1, offset=12)
        .configure_header(labelColor=INK, labelFontSize=13, labelPadding=4)
        .configure_view(stroke=None)
    )
