"""What the code imports and what dvc.yaml says of it, and the rules that both must keep.

`Sources` maps a module's name to its text, `Graph` a module's name to the names that it imports: other modules of the
project by their full name, all else by its top-level package. A rule returns a line for each breach.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Sources = Mapping[str, str]
Graph = Mapping[str, frozenset[str]]

JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
LM_MAY_IMPORT = JAX | {"numpy", "tokenizers", "safetensors"} | sys.stdlib_module_names
LM_ALONE_MAY_IMPORT = {"stages.lm.chat": {"jinja2"}, "stages.lm.gguf": {"gguf"}, "stages.lm.shapes": {"jaxtyping"}}
LM_MAY_USE = {"stages.project.errors", "stages.project.files"}
# Read by the code, but not imported.
ALSO_READ = {
    "stages.page.interactive": {"stages/page/script.js"},
    "stages.page.page": {"stages/page/template.html", "stages/page/style.css"},
    "stages.text.opinions": {"stages/text/opinions.yaml"},
}


def read_sources(root: Path) -> dict[str, str]:
    """The modules of the folder stages/, packages under their own name."""
    paths = sorted((root / "stages").rglob("*.py"))
    return {_name(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph_of(sources: Sources) -> Graph:
    """Who imports what, wherever in a module the import stands."""
    return {name: frozenset(_imports(text, sources)) for name, text in sources.items()}


def _imports(text: str, sources: Sources) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that each says what it means"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in sources else str(node.module) for name in full]
        else:
            continue
        yield from (name if name.startswith("stages") else name.partition(".")[0] for name in names)


def reached(module: str, graph: Graph) -> set[str]:
    """The project's modules that `module` imports, itself included, however many steps away."""
    found: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name not in found and name in graph:
            found.add(name)
            left += graph[name]
    return found


def is_stage(module: str) -> bool:
    """Whether a module is a file directly in stages/ (packages have been told apart by what they hold)."""
    return module.count(".") == 1 and module != "stages.__main__"


def stages_of(graph: Graph) -> set[str]:
    """The modules that are stages."""
    packages = {name.rpartition(".")[0] for name in graph}
    return {name for name in graph if is_stage(name) and name not in packages}


def imports_of_stages(graph: Graph) -> list[str]:
    """Stages meet through files: nobody imports one."""
    return _breaches(graph, lambda name, imported: imported in stages_of(graph))


def imports_between_text_and_lm(graph: Graph) -> list[str]:
    """Words and arrays do not know each other."""
    pairs = {("text", "lm"), ("lm", "text")}
    return _breaches(graph, lambda name, imported: (_folder(name), _folder(imported)) in pairs)


def foreign_imports_of_lm(graph: Graph) -> list[str]:
    """`lm` runs by itself where little is installed."""

    def is_foreign(name: str, imported: str) -> bool:
        if _folder(name) != "lm" or _folder(imported) == "lm":
            return False
        return imported not in LM_MAY_IMPORT | LM_MAY_USE | LM_ALONE_MAY_IMPORT.get(name, set())

    return _breaches(graph, is_foreign)


def imports_of_other_knobs(graph: Graph) -> list[str]:
    """A module of knobs uses the shared types alone, and a stage its own knobs alone; `check` reads them all."""

    def is_other(name: str, imported: str) -> bool:
        if _folder(name) == "params":
            return imported.startswith("stages") and imported != "stages.params.kinds"
        own = name.replace("stages.", "stages.params.", 1)
        return name in stages_of(graph) and name != "stages.check" and _folder(imported) == "params" and imported != own

    return _breaches(graph, is_other)


def misplaced_libraries(graph: Graph) -> list[str]:
    """jax stays in `lm`; the hub's slow library stays in one module."""
    readers = sorted(name for name, imported in graph.items() if "datasets" in imported)
    lines = _breaches(graph, lambda name, imported: imported in JAX and _folder(name) != "lm")
    return lines + [f"{name} imports datasets, as {readers[0]} does" for name in readers[1:]]


def wrong_deps(pipeline: Mapping[str, Any], graph: Graph) -> list[str]:
    """A stage's deps name exactly the code that it imports, packages' own files apart."""
    packages = {name.rpartition(".")[0] for name in graph}
    lines = []
    for stage, entry in pipeline.items():
        modules = reached(f"stages.{stage}", graph)
        needed = {name.replace(".", "/") + ".py" for name in modules - packages}
        needed |= {path for name in modules for path in ALSO_READ.get(name, ())}
        listed = [dep for dep in entry["deps"] if dep.startswith("stages/")]
        lines += [f"{stage} lacks {path}" for path in sorted(needed - set(listed))]
        lines += [f"{stage} does not import {path}" for path in sorted(set(listed) - needed)]
        lines += [f"{stage} lists {path} twice" for path in sorted({path for path in listed if listed.count(path) > 1})]
    return lines


def _breaches(graph: Graph, is_breach: Callable[[str, str], bool]) -> list[str]:
    pairs = ((name, imported) for name, names in graph.items() for imported in sorted(names))
    return [f"{name} imports {imported}" for name, imported in pairs if is_breach(name, imported)]


def _folder(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "stages" and len(parts) > 1 else ""
