"""Charts as SVG that can stand in a page: same bytes every time, unique ids, a text alternative; and as PNG."""

import io
from xml.etree import ElementTree

import altair as alt
import vl_convert

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)


def render(chart: alt.TopLevelMixin, prefix: str, alternative: str) -> str:
    """The chart as SVG whose ids start with `prefix` and whose text alternative is `alternative`.

    Vega numbers its ids through the whole process, so that the same chart drawn twice differs and ids of two charts may
    collide; here they are numbered anew within each chart.
    """
    drawn = io.StringIO()
    chart.save(drawn, format="svg")
    root = ElementTree.fromstring(drawn.getvalue())
    _rename_ids(root, prefix)
    # One image to a screen reader, not its hundred shapes.
    root.set("role", "img")
    root.set("aria-label", alternative)
    return ElementTree.tostring(root, encoding="unicode")


def png(svg: str) -> bytes:
    """The same picture as PNG, black on white, for what reads no SVG: twice as many pixels, or 192 to the inch."""
    drawn: bytes = vl_convert.svg_to_png(svg, scale=2)
    return drawn


def _rename_ids(root: ElementTree.Element, prefix: str) -> None:
    with_id = [element for element in root.iter() if "id" in element.attrib]
    new = {element.attrib["id"]: f"{prefix}-{number}" for number, element in enumerate(with_id)}
    references = {f"url(#{old})": f"url(#{name})" for old, name in new.items()}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, new[value])
            elif value in references:
                element.set(key, references[value])
