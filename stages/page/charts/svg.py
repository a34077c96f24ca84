"""Charts as SVG, byte for byte reproducible and with a text alternative, and as PNG."""

import io
from xml.etree import ElementTree

import altair as alt
import vl_convert

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)

_GROUP = f"{{{SVG}}}g"
_SHAPES = {f"{{{SVG}}}{shape}" for shape in ("path", "line", "rect")}
_INVISIBLE = {"class", "pointer-events", "role", "aria-hidden", "aria-label", "aria-roledescription"}
_DEFAULTS = {("transform", "translate(0,0)"), ("opacity", "1"), ("x2", "0"), ("y2", "0")}


def render(chart: alt.TopLevelMixin, alt_text: str) -> str:
    """The chart as SVG with the text alternative `alt_text`.

    Vega numbers its ids across the process, so the same chart drawn twice would differ. Here each chart's ids start
    from 0.
    """
    buffer = io.StringIO()
    chart.save(buffer, format="svg")
    root = ElementTree.fromstring(buffer.getvalue())
    _remove_invisible(root)
    _rename_ids(root)
    # A screen reader should see one image and not its hundred shapes.
    root.set("role", "img")
    root.set("aria-label", alt_text)
    return ElementTree.tostring(root, encoding="unicode")


def size(svg: str) -> tuple[float, float]:
    """The width and height of an SVG in pixels."""
    root = ElementTree.fromstring(svg)
    return float(root.attrib["width"]), float(root.attrib["height"])


def png(svg: str) -> bytes:
    """The same picture as PNG with 192 pixels per inch, black on white, for viewers without SVG."""
    content: bytes = vl_convert.svg_to_png(svg, scale=2)
    return content


def _remove_invisible(element: ElementTree.Element) -> None:
    """Removes what is not visible, half of what Vega writes: names for its scripts, empty groups, uncoloured shapes."""
    for key, value in list(element.attrib.items()):
        if key in _INVISIBLE or (key, value) in _DEFAULTS:
            del element.attrib[key]
    if element.tag != f"{{{SVG}}}defs":  # shapes in it clip others and need no colour
        visible: list[ElementTree.Element] = []
        for child in element:
            _remove_invisible(child)
            if not _is_invisible(child):
                visible += child if child.tag == _GROUP and not child.attrib else [child]
        element[:] = visible


def _is_invisible(element: ElementTree.Element) -> bool:
    if element.get("display") == "none":
        return True
    if element.tag == _GROUP:
        return len(element) == 0
    # A shape without a colour inherits that of the outermost group, which has none.
    return element.tag in _SHAPES and not {"fill", "stroke"} & set(element.attrib)


def _rename_ids(root: ElementTree.Element) -> None:
    with_id = [element for element in root.iter() if "id" in element.attrib]
    new_ids = {element.attrib["id"]: f"id-{number}" for number, element in enumerate(with_id)}
    references = {f"url(#{old})": f"url(#{new})" for old, new in new_ids.items()}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, new_ids[value])
            elif value in references:
                element.set(key, references[value])
