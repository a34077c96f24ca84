"""Charts as files: SVG with the same bytes every time and a text alternative, and PNG."""

import io
from xml.etree import ElementTree

import altair as alt
import vl_convert

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)

_GROUP = f"{{{SVG}}}g"
_SHAPES = {f"{{{SVG}}}{shape}" for shape in ("path", "line", "rect")}
_UNSEEN = {"class", "pointer-events", "role", "aria-hidden", "aria-label", "aria-roledescription"}
_DEFAULTS = {("transform", "translate(0,0)"), ("opacity", "1"), ("x2", "0"), ("y2", "0")}


def render(chart: alt.TopLevelMixin, alternative: str) -> str:
    """The chart as SVG whose text alternative is `alternative`.

    Vega numbers its ids through the whole process, so that the same chart drawn twice differs; here they are numbered
    anew within each chart.
    """
    drawn = io.StringIO()
    chart.save(drawn, format="svg")
    root = ElementTree.fromstring(drawn.getvalue())
    _lighten(root)
    _rename_ids(root)
    # One image to a screen reader, not its hundred shapes.
    root.set("role", "img")
    root.set("aria-label", alternative)
    return ElementTree.tostring(root, encoding="unicode")


def size(svg: str) -> tuple[float, float]:
    """The width and height of a drawing in pixels."""
    root = ElementTree.fromstring(svg)
    return float(root.attrib["width"]), float(root.attrib["height"])


def png(svg: str) -> bytes:
    """The same picture as PNG, black on white, for what reads no SVG: twice as many pixels, or 192 to the inch."""
    drawn: bytes = vl_convert.svg_to_png(svg, scale=2)
    return drawn


def _lighten(element: ElementTree.Element) -> None:
    """Leaves out what is not seen, half of what Vega writes: names for its own scripts, empty groups, no ink."""
    for key, value in list(element.attrib.items()):
        if key in _UNSEEN or (key, value) in _DEFAULTS:
            del element.attrib[key]
    if element.tag != f"{{{SVG}}}defs":  # what clips has no ink of its own
        kept: list[ElementTree.Element] = []
        for child in element:
            _lighten(child)
            if not _is_nothing(child):
                kept += child if child.tag == _GROUP and not child.attrib else [child]
        element[:] = kept


def _is_nothing(element: ElementTree.Element) -> bool:
    if element.get("display") == "none":
        return True
    if element.tag == _GROUP:
        return len(element) == 0
    # Without a colour of its own it has that of the outermost group: none.
    return element.tag in _SHAPES and not {"fill", "stroke"} & set(element.attrib)


def _rename_ids(root: ElementTree.Element) -> None:
    with_id = [element for element in root.iter() if "id" in element.attrib]
    new = {element.attrib["id"]: f"id-{number}" for number, element in enumerate(with_id)}
    references = {f"url(#{old})": f"url(#{name})" for old, name in new.items()}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, new[value])
            elif value in references:
                element.set(key, references[value])
