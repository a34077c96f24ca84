"""Figures of curves and distributions: training loss, validation loss, measures by step, log-odds shifts."""

import altair as alt
import polars as pl

from stages.page.charts.theme import (
    BASE,
    HALF,
    INK,
    TUNED,
    VARIANTS,
    WIDTH,
    Layers,
    XAxis,
    in_two_columns,
    panels,
    styled,
)
from stages.page.data.labels import ABLATED, measure_of

MAX_POINTS = 200
BINS = 24

_STEP = alt.X(
    "step:Q",
    title="optimizer step",
    scale=alt.Scale(nice=False),
    axis=alt.Axis(format="d", tickMinStep=1, tickCount=6),
)


def loss(training: pl.DataFrame) -> alt.TopLevelMixin:
    """The training loss by step: each step as a thin line, the running mean as a bold one."""
    chart = alt.Chart(alt.Data(values=loss_points(training).to_dicts()), width=WIDTH + 90, height=220)
    raw = chart.mark_line(color=TUNED, strokeWidth=1, opacity=0.45).encode(
        x=_STEP, y=alt.Y("loss:Q", title="loss (natural log)", scale=alt.Scale(zero=True))
    )
    return styled(raw + chart.mark_line(color=TUNED, strokeWidth=2.5).encode(x=_STEP, y="running:Q"))


def loss_points(training: pl.DataFrame) -> pl.DataFrame:
    """At most `MAX_POINTS` rows of step, loss and running mean; more steps are averaged in windows of equal size."""
    # JSON has no NaN, and null leaves a gap in the curve.
    curve = training.with_columns(pl.col("loss").fill_nan(None))
    curve = curve.with_columns(
        running=pl.col("loss").rolling_mean(max(1, curve.height // 20), min_samples=1, center=True)
    )
    window = -(-curve.height // MAX_POINTS) or 1
    windows = curve.with_row_index("index").group_by(pl.col("index") // window, maintain_order=True)
    return windows.agg(pl.col("step").last(), pl.col("loss", "running").mean()).drop("index")


def validation_loss(losses: pl.DataFrame) -> alt.TopLevelMixin:
    """The validation loss by step, with a small panel for each source."""
    rows = losses.with_columns(pl.col("loss").fill_nan(None), pl.col("source").str.replace_all("_", " ")).to_dicts()
    chart = alt.Chart(alt.Data(values=rows), width=(WIDTH + 90) // 3 - 24, height=90)
    y = alt.Y("loss:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=3))
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=3)
    x = alt.X("step:Q", title=None, scale=alt.Scale(zero=True, nice=False), axis=axis)
    tooltip = [alt.Tooltip("source:N"), alt.Tooltip("step:Q"), alt.Tooltip("loss:Q", format=".3f")]
    line = chart.mark_line(color=TUNED, strokeWidth=2, point={"color": TUNED, "size": 40, "opacity": 1})
    header = alt.Header(labelOrient="top", labelAnchor="start", labelLimit=120)
    order = list(dict.fromkeys(row["source"] for row in rows))
    facet = alt.Facet("source:N", sort=order, title=None, header=header)
    return styled(line.encode(x=x, y=y, tooltip=tooltip).facet(facet=facet, columns=3))


def steps(curve: pl.DataFrame) -> alt.TopLevelMixin:
    """The measures in ABLATED by step; `curve` comes from step_rows."""
    chart = alt.Chart(alt.Data(values=curve.to_dicts()), width=HALF, height=90)
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=4)
    x = alt.X("step:Q", title=None, scale=alt.Scale(zero=True, nice=False), axis=axis)
    y = alt.Y("low:Q", title=None, axis=alt.Axis(format=".0%", tickCount=3))
    interval = chart.mark_rule(color=TUNED, strokeWidth=2).encode(x=x, y=y, y2="high:Q")
    tooltip = [alt.Tooltip("label:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".1%"), alt.Tooltip("n:Q")]
    line = chart.mark_line(color=TUNED, strokeWidth=1.5, point={"color": TUNED, "size": 40, "opacity": 1})
    layers = alt.layer(line.encode(x=x, y="value:Q", tooltip=tooltip), interval)
    return in_two_columns(layers, "label", curve["label"].unique(maintain_order=True))


def step_rows(curve: pl.DataFrame) -> pl.DataFrame:
    """The rows of the figure `steps`: those of `read_steps` for ABLATED, with label, low and high.

    The interval is that of the difference from step 0, added to the value at step 0. No rows if there are no steps
    between the first and the last: other figures show base and tuned.
    """
    before = pl.col("value") - pl.col("delta")
    rows = curve.filter(pl.col("measure").is_in(ABLATED)).with_columns(
        label=pl.col("measure").replace_strict({name: measure_of(name).label for name in ABLATED}),
        low=before + pl.col("delta_low"),
        high=before + pl.col("delta_high"),
    )
    return rows if curve["step"].n_unique() > 2 else rows.clear()


def shifts(table: pl.DataFrame) -> alt.TopLevelMixin:
    """Histograms for base and tuned of how far a wrong opinion moves each claim's answer."""
    y = alt.Y("claims:Q", title="claims", axis=alt.Axis(tickCount=3, tickMinStep=1))
    color = alt.Color("variant:N", scale=alt.Scale(domain=VARIANTS, range=[BASE, TUNED]), legend=None)
    tooltip = [alt.Tooltip("variant:N"), *(alt.Tooltip(f"{end}:Q", format=".2f") for end in ("low", "high"))]

    def draw(chart: alt.Chart, x: alt.X) -> Layers:
        bars = chart.mark_bar(stroke=INK, strokeWidth=0.5, strokeOpacity=0.4).encode(
            x=x, x2="high:Q", y=y, y2=alt.datum(0), color=color, tooltip=[*tooltip, alt.Tooltip("claims:Q")]
        )
        zero = chart.mark_rule(color=INK, strokeDash=[5, 4]).encode(x=alt.datum(0))
        triangle = chart.mark_point(shape="triangle-down", color=INK, filled=True, opacity=1, size=60)
        return alt.layer(bars, zero, triangle.encode(x="median:Q", y=alt.value(-2)))

    x_axis = XAxis("low", "shift towards the user's wrong opinion, in log-odds", alt.Scale(), {"tickCount": 7})
    return panels(shift_bins(table).to_dicts(), "variant", 90, x_axis, draw)


def shift_bins(table: pl.DataFrame) -> pl.DataFrame:
    """The shifts counted in at most `BINS` bins of equal width with an edge at 0.

    Columns: variant, low, high, claims, median. The median is that of all shifts of a variant; only the variant's first
    bin has it.
    """
    largest = max(float(table["shift"].abs().max() or 0.0), 1e-9)  # type: ignore[arg-type]
    width = 2 * largest / BINS
    index = (pl.col("shift") / width).floor().clip(-(BINS // 2), BINS // 2 - 1)
    indexed = table.with_columns(bin=index, median=pl.col("shift").median().over("variant"))
    bins = indexed.group_by("variant", "bin", "median").agg(claims=pl.len()).sort("variant", "bin")
    is_first = pl.int_range(pl.len()).over("variant") == 0
    return bins.select(
        "variant",
        low=pl.col("bin") * width,
        high=(pl.col("bin") + 1) * width,
        claims="claims",
        median=pl.when(is_first).then("median"),
    )
