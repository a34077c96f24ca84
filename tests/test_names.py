"""Names that a reader has to rely on: a class's is its own, and the letters of axes are explained."""

import ast
import re
from collections.abc import Iterator, Mapping

import pytest

from tests.helpers.programs import CHECKOUT
from tests.pipeline.structure import read_sources

SOURCES = read_sources(CHECKOUT)

AXES = re.compile(r"[a-z0-9]_([A-Z0-9]+)$")
LEGEND = "The letters"


def shared_names(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of classes and type aliases that stand for more than one, with each place."""
    places: dict[str, list[str]] = {}
    for module, text in sources.items():
        for name, line in _types(ast.parse(text)):
            places.setdefault(name, []).append(f"{module}:{line}")
    return {name: found for name, found in places.items() if len(found) > 1}


def _types(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Classes anywhere in a module, and the aliases at its top: names with a capital and small letters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, node.lineno
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Subscript() | ast.BinOp() | ast.Name()):
                if re.match(r"_?[A-Z]\w*[a-z]", name):
                    yield name, statement.lineno


def unexplained_axes(sources: Mapping[str, str], legend: str) -> list[str]:
    """A line for each name of an array whose letters the legend does not explain; digits are sizes."""
    explained = set(re.findall(r"\b([A-Z])\b", legend))
    lines = []
    for module, text in sources.items():
        for name in sorted(_names(ast.parse(text))):
            found = AXES.search(name)
            missing = sorted({letter for letter in found[1] if letter.isalpha()} - explained) if found else []
            lines += [f"{module}: {name} has {', '.join(missing)}"] if missing else []
    return lines


def _names(tree: ast.Module) -> set[str]:
    """Variables, arguments and fields."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                # Constants are capitals throughout.
                found |= {name} if name != name.upper() else set()
    return found


def legend_of(docstring: str) -> str:
    """The part of a docstring that explains the letters."""
    assert LEGEND in docstring, f"the docstring of stages/lm/__init__.py has no {LEGEND!r}"
    return docstring[docstring.index(LEGEND) + len(LEGEND) :]


def test_a_name_stands_for_one_class_or_alias() -> None:
    lines = [f"{name}: {', '.join(places)}" for name, places in shared_names(SOURCES).items()]
    assert lines == [], "rename one of each:\n" + "\n".join(lines)


@pytest.mark.parametrize("second", ["class Choice: ...", "def f():\n  class Choice: ...", "Choice = dict[str, int]"])
def test_a_shared_name_is_found(second: str) -> None:
    sources = {
        "stages.a": "import b\nclass Choice: ...",
        "stages.b": second,
        "stages.c": 'T = TypeVar("T")\nCHOICE = a',
    }
    [(name, places)] = shared_names(sources).items()
    assert (name, len(places)) == ("Choice", 2) and places[0] == "stages.a:2"


def test_the_legend_explains_every_letter_of_an_axis() -> None:
    legend = legend_of(ast.get_docstring(ast.parse(SOURCES["stages.lm"])) or "")
    lines = unexplained_axes({name: text for name, text in SOURCES.items() if name.startswith("stages.lm")}, legend)
    assert lines == [], f"explain these under {LEGEND!r} in stages/lm/__init__.py:\n" + "\n".join(lines)


def test_a_letter_that_is_not_explained_is_found() -> None:
    text = "def f(x_BT, *, mask_B1Z):\n  self.key_BQ = x_BT\n  logits_BT: int = SOME_BQ\n"
    assert unexplained_axes({"stages.lm.a": text}, legend_of(f"A Q. {LEGEND}: B batch, T and S positions.")) == [
        "stages.lm.a: key_BQ has Q",
        "stages.lm.a: mask_B1Z has Z",
    ]
