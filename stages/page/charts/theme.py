"""The theme of all figures: colours, shapes, axes and fonts; one drawing works on light, dark and printed pages.

The colours are Okabe and Ito's blue and vermillion, which colour-blind readers can distinguish; base and tuned also
differ in shape. Text and lines take the page's own colour (`currentColor`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

Row = Mapping[str, Any]
Layers = alt.LayerChart | alt.FacetChart
Draw = Callable[[alt.Chart, alt.X], Layers]

BASE, TUNED = "#D55E00", "#0072B2"
INK = "currentColor"

# Width of a plot next to its labels, in pixels; the page makes it narrower where there is less room.
WIDTH = 300
# Width of each of two plots side by side.
HALF = (WIDTH + 90) // 2 - 10

VARIANTS: Sequence[Any] = ["base", "tuned"]
SHARE_AXIS = {"values": [0, 0.25, 0.5, 0.75, 1], "format": ".0%"}
SHARES = alt.Scale(domain=[0, 1])
POINT: dict[str, Any] = {"size": 70, "strokeWidth": 2, "opacity": 1, "filled": True}


def by_variant() -> dict[str, Any]:
    """Encodings that distinguish base and tuned by colour and by shape."""
    legend = alt.Legend(title=None, orient="top")
    return {
        "color": alt.Color("variant:N", scale=alt.Scale(domain=VARIANTS, range=[BASE, TUNED]), legend=legend),
        "shape": alt.Shape("variant:N", scale=alt.Scale(domain=VARIANTS, range=["circle", "diamond"]), legend=legend),
    }


def share_tooltip(*names: str) -> list[alt.Tooltip]:
    """The tooltip of a share: the columns `names`, the share with its interval, and the number of questions."""
    shares = [alt.Tooltip(f"{name}:Q", format=".1%") for name in ("share", "low", "high")]
    return [*(alt.Tooltip(f"{name}:N") for name in names), *shares, alt.Tooltip("n:Q", format=",")]


@dataclass(frozen=True)
class XAxis:
    """The x axis that a figure's panels share: the column of the first mark, the title, the scale and the axis."""

    column: str
    title: str
    scale: alt.Scale
    axis: Mapping[str, Any]

    def encode(self, has_labels: bool) -> alt.X:
        """The axis as an encoding, with its numbers and title only if `has_labels`."""
        hidden: dict[str, Any] = {} if has_labels else {"labels": False, "ticks": False, "domain": False}
        title = self.title if has_labels else None
        return alt.X(f"{self.column}:Q", title=title, scale=self.scale, axis=alt.Axis(**self.axis, **hidden))


def panels(rows: Iterable[Row], column: str, height: Any, x_axis: XAxis, draw: Draw) -> alt.TopLevelMixin:
    """A vertical stack of panels, one for each value of `column` in order of first appearance, titled with the value.

    `draw` gets a panel's chart and its x encoding; only the last panel has the axis's numbers and title.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    charts = []
    for number, (name, group) in enumerate(groups.items(), start=1):
        title = alt.Title(name.replace("_", " "), anchor="start", frame="group", limit=WIDTH)
        chart = alt.Chart(alt.Data(values=group), width=WIDTH, height=height, title=title)
        charts.append(draw(chart, x_axis.encode(number == len(groups))))
    # Not a facet: its panels would share one data source, which Vega-Lite filters for each layer, and y could be wrong.
    return styled(alt.vconcat(*charts, spacing=12).resolve_scale(x="shared"))


def in_two_columns(layers: Layers, column: str, order: Iterable[str]) -> alt.TopLevelMixin:
    """Plots of the width `HALF` in two columns, one for each value of `column` (the measures' labels), in `order`."""
    # A label such as "Claims, no opinion: correct" is split at the colon, because one line would be cut off.
    lines = "split(datum.label, ': ')"
    header = alt.Header(
        labelOrient="top", labelAnchor="start", labelFontSize=12, labelLimit=HALF + 35, labelExpr=lines
    )  # fmt: skip
    facet = alt.Facet(f"{column}:N", sort=list(order), title=None, header=header)
    # Flush bounds, because otherwise the height of a row's headers would vary with what each plot draws.
    return styled(layers.facet(facet=facet, columns=2, bounds="flush", spacing={"row": 52, "column": 46}))


def styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart with the page's font and colours."""
    # Every system has a `sans-serif` font. A white background keeps reports/plots/ readable in a dark viewer.
    axis = {"labelColor": INK, "titleColor": INK, "gridColor": INK, "domainColor": INK, "tickColor": INK}
    sizes = {"labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal", "gridOpacity": 0.15}
    return (
        chart.configure(font="sans-serif", aria=False, background="white", padding=4)
        .configure_axis(**axis, **sizes, labelLimit=240)
        .configure_legend(labelColor=INK, labelFontSize=13, symbolOpacity=1, offset=12)
        .configure_header(labelColor=INK, labelFontSize=13, labelPadding=4)
        .configure_title(color=INK, fontSize=13, offset=6)
        .configure_view(stroke=None)
    )
