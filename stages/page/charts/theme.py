"""What all figures share: colours, shapes, axes and type, so that one drawing serves light, dark and paper.

Colours are Okabe and Ito's blue and vermillion, told apart by any eye; base and tuned differ in shape too. Text and
lines take the page's own colour (`currentColor`).
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

# Pixels of a plot beside its labels; the page narrows it where there is less room.
WIDTH = 300
# Of one of two plots side by side.
HALF = (WIDTH + 90) // 2 - 10

VARIANTS: Sequence[Any] = ["base", "tuned"]
SHARE_AXIS = {"values": [0, 0.25, 0.5, 0.75, 1], "format": ".0%"}
SHARES = alt.Scale(domain=[0, 1])
POINT: dict[str, Any] = {"size": 70, "strokeWidth": 2, "opacity": 1, "filled": True}


def by_variant() -> dict[str, Any]:
    """Encodings that tell base and tuned apart by colour and by shape."""
    legend = alt.Legend(title=None, orient="top")
    return {
        "color": alt.Color("variant:N", scale=alt.Scale(domain=VARIANTS, range=[BASE, TUNED]), legend=legend),
        "shape": alt.Shape("variant:N", scale=alt.Scale(domain=VARIANTS, range=["circle", "diamond"]), legend=legend),
    }


def share_tooltip(*names: str) -> list[alt.Tooltip]:
    """What a pointer is told of a share: the columns `names`, the share with its interval, and how many it counts."""
    shares = [alt.Tooltip(f"{name}:Q", format=".1%") for name in ("share", "low", "high")]
    return [*(alt.Tooltip(f"{name}:N") for name in names), *shares, alt.Tooltip("n:Q", format=",")]


@dataclass(frozen=True)
class Across:
    """The x axis that a figure's panels share: the column of its first mark, title, scale and axis."""

    column: str
    title: str
    scale: alt.Scale
    axis: Mapping[str, Any]

    def encoded(self, in_words: bool) -> alt.X:
        """The axis as an encoding, its numbers and title in sight only where `in_words`."""
        silent: dict[str, Any] = {} if in_words else {"labels": False, "ticks": False, "domain": False}
        title = self.title if in_words else None
        return alt.X(f"{self.column}:Q", title=title, scale=self.scale, axis=alt.Axis(**self.axis, **silent))


def panels(rows: Iterable[Row], column: str, height: Any, across: Across, draw: Draw) -> alt.TopLevelMixin:
    """One panel under another for each value of `column`, in the order of their first appearance, named in words.

    `draw` gets a panel's chart and its x; numbers and title stand under the last one only.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    drawn = []
    for number, (name, group) in enumerate(groups.items(), start=1):
        title = alt.Title(name.replace("_", " "), anchor="start", frame="group", limit=WIDTH)
        chart = alt.Chart(alt.Data(values=group), width=WIDTH, height=height, title=title)
        drawn.append(draw(chart, across.encoded(number == len(groups))))
    # Panels of a facet would share one source; Vega-Lite filters it layer by layer, and then mistrusts their y.
    return styled(alt.vconcat(*drawn, spacing=12).resolve_scale(x="shared"))


def by_twos(layers: Layers, column: str, order: Iterable[str]) -> alt.TopLevelMixin:
    """Plots of the width `HALF`, two in a row, one for each value of `column`: the labels of measures, in `order`."""
    # In two lines where a measure's label says of what it is and then what: one would be cut off.
    lines = "split(datum.label, ': ')"
    header = alt.Header(
        labelOrient="top", labelAnchor="start", labelFontSize=12, labelLimit=HALF + 35, labelExpr=lines
    )  # fmt: skip
    facet = alt.Facet(f"{column}:N", sort=list(order), title=None, header=header)
    # Flush, or a row's headers would stand as high as what each plot draws.
    return styled(layers.facet(facet=facet, columns=2, bounds="flush", spacing={"row": 52, "column": 46}))


def styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart with the page's type and ink."""
    # `sans-serif` is a font everywhere; a white ground makes the files of reports/plots/ readable in a dark viewer.
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
