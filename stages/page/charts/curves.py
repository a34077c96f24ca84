"""Figures of curves and distributions as Altair charts: training loss, loss by source, log-odds shifts."""

import altair as alt
import polars as pl

from stages.page.charts.theme import BASE, HALF, INK, TUNED, VARIANTS, WIDTH, Across, Layers, by_twos, panels, styled
from stages.page.data.labels import ABLATED, measure_of

MOST_POINTS = 200
BINS = 24

_STEP = alt.X(
    "step:Q",
    title="optimizer step",
    scale=alt.Scale(nice=False),
    axis=alt.Axis(format="d", tickMinStep=1, tickCount=6),
)


def loss(training: pl.DataFrame) -> alt.TopLevelMixin:
    """The training loss by step, thin as it was and bold as a running mean."""
    chart = alt.Chart(alt.Data(values=loss_points(training).to_dicts()), width=WIDTH + 90, height=220)
    raw = chart.mark_line(color=TUNED, strokeWidth=1, opacity=0.45).encode(
        x=_STEP, y=alt.Y("loss:Q", title="loss (natural log)", scale=alt.Scale(zero=True))
    )
    return styled(raw + chart.mark_line(color=TUNED, strokeWidth=2.5).encode(x=_STEP, y="running:Q"))


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


def aside(losses: pl.DataFrame) -> alt.TopLevelMixin:
    """The loss on rows set aside, a small panel for each source."""
    rows = losses.with_columns(pl.col("loss").fill_nan(None), pl.col("source").str.replace_all("_", " ")).to_dicts()
    chart = alt.Chart(alt.Data(values=rows), width=(WIDTH + 90) // 3 - 24, height=90)
    y = alt.Y("loss:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=3))
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=3)
    x = alt.X("step:Q", title=None, scale=alt.Scale(zero=True, nice=False), axis=axis)
    told = [alt.Tooltip("source:N"), alt.Tooltip("step:Q"), alt.Tooltip("loss:Q", format=".3f")]
    line = chart.mark_line(color=TUNED, strokeWidth=2, point={"color": TUNED, "size": 40, "opacity": 1})
    header = alt.Header(labelOrient="top", labelAnchor="start", labelLimit=120)
    order = list(dict.fromkeys(row["source"] for row in rows))
    facet = alt.Facet("source:N", sort=order, title=None, header=header)
    return styled(line.encode(x=x, y=y, tooltip=told).facet(facet=facet, columns=3))


def steps(curve: pl.DataFrame) -> alt.TopLevelMixin:
    """The measures of ABLATED after the steps where they were taken; `curve` as step_rows."""
    chart = alt.Chart(alt.Data(values=curve.to_dicts()), width=HALF, height=90)
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=4)
    x = alt.X("step:Q", title=None, scale=alt.Scale(zero=True, nice=False), axis=axis)
    y = alt.Y("low:Q", title=None, axis=alt.Axis(format=".0%", tickCount=3))
    interval = chart.mark_rule(color=TUNED, strokeWidth=2).encode(x=x, y=y, y2="high:Q")
    told = [alt.Tooltip("label:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".1%"), alt.Tooltip("n:Q")]
    line = chart.mark_line(color=TUNED, strokeWidth=1.5, point={"color": TUNED, "size": 40, "opacity": 1})
    layers = alt.layer(line.encode(x=x, y="value:Q", tooltip=told), interval)
    return by_twos(layers, "label", curve["label"].unique(maintain_order=True))


def step_rows(curve: pl.DataFrame) -> pl.DataFrame:
    """The rows of the figure `steps`: those of `read_steps` on ABLATED, with label, low and high.

    The interval is that of the difference from step 0, laid off from the value there. Without steps between the first
    and the last there are none: base and tuned are shown elsewhere.
    """
    before = pl.col("value") - pl.col("delta")
    rows = curve.filter(pl.col("measure").is_in(ABLATED)).with_columns(
        label=pl.col("measure").replace_strict({name: measure_of(name).label for name in ABLATED}),
        low=before + pl.col("delta_low"),
        high=before + pl.col("delta_high"),
    )
    return rows if curve["step"].n_unique() > 2 else rows.clear()


def shifts(table: pl.DataFrame) -> alt.TopLevelMixin:
    """How far a wrong opinion moves each claim's answer, as a distribution for base and one for tuned."""
    y = alt.Y("claims:Q", title="claims", axis=alt.Axis(tickCount=3, tickMinStep=1))
    color = alt.Color("variant:N", scale=alt.Scale(domain=VARIANTS, range=[BASE, TUNED]), legend=None)
    told = [alt.Tooltip("variant:N"), *(alt.Tooltip(f"{end}:Q", format=".2f") for end in ("low", "high"))]

    def draw(chart: alt.Chart, x: alt.X) -> Layers:
        bars = chart.mark_bar(stroke=INK, strokeWidth=0.5, strokeOpacity=0.4).encode(
            x=x, x2="high:Q", y=y, y2=alt.datum(0), color=color, tooltip=[*told, alt.Tooltip("claims:Q")]
        )
        none = chart.mark_rule(color=INK, strokeDash=[5, 4]).encode(x=alt.datum(0))
        triangle = chart.mark_point(shape="triangle-down", color=INK, filled=True, opacity=1, size=60)
        return alt.layer(bars, none, triangle.encode(x="median:Q", y=alt.value(-2)))

    across = Across("low", "shift towards the user's wrong opinion, in log-odds", alt.Scale(), {"tickCount": 7})
    return panels(shift_bins(table).to_dicts(), "variant", 90, across, draw)


def shift_bins(table: pl.DataFrame) -> pl.DataFrame:
    """Columns variant, low, high, claims: shifts counted in at most `BINS` bins of equal width, 0 at an edge.

    `median`, that of all shifts of a variant, stands once for each, in its first bin.
    """
    largest = max(float(table["shift"].abs().max() or 0.0), 1e-9)  # type: ignore[arg-type]
    width = 2 * largest / BINS
    place = (pl.col("shift") / width).floor().clip(-(BINS // 2), BINS // 2 - 1)
    counted = table.with_columns(place=place, median=pl.col("shift").median().over("variant"))
    bins = counted.group_by("variant", "place", "median").agg(claims=pl.len()).sort("variant", "place")
    is_first = pl.int_range(pl.len()).over("variant") == 0
    return bins.select(
        "variant",
        low=pl.col("place") * width,
        high=(pl.col("place") + 1) * width,
        claims="claims",
        median=pl.when(is_first).then("median"),
    )
