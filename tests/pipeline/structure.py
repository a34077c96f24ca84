"""What the code imports and what dvc.yaml says of it, and the rules that both must keep.

`Sources` maps a module's name to its text, `Graph` a module's name to the names that it imports: other modules of the
project by their full name, everything else by its top-level package. A rule returns a line for each breach.

A room is what dvc.yaml can name as a dependency: a folder of stages/, or a file directly in stages/ or stages/params/.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Sources = Mapping[str, str]
Graph = Mapping[str, frozenset[str]]

JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
LM_MAY_IMPORT = JAX | {"numpy", "tokenizers", "safetensors"} | sys.stdlib_module_names
LM_ALONE_MAY_IMPORT = {
    "stages.lm.tokens.chat_template": {"jinja2"},
    "stages.lm.gguf.reader": {"gguf"},
    "stages.lm.nn.shapes": {"jaxtyping"},
    "stages.lm.training.host_memory": {"psutil"},
}
LM_MAY_USE = {f"stages.core.{name}" for name in ("errors", "files", "iteration", "shared_types")}
PARAMS_MAY_USE = {"stages.core.param_types", "stages.core.shared_types"}
# Folders inside these are parts of them: dvc.yaml names the outer one.
WHOLE_ROOMS = ("stages/page",)
# Checks everything, writes nothing, and takes a second: it depends on the whole of stages/.
DEPENDS_ON_EVERYTHING = "check"
MOST_CODE_DEPS = 12


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


def packages_of(graph: Graph) -> set[str]:
    """The modules that are folders."""
    return {name.rpartition(".")[0] for name in graph}


def room_of(module: str) -> str:
    """The room that a module is in, as a path."""
    parts = module.split(".")
    if len(parts) == 2 or (parts[1] == "params" and len(parts) == 3):
        return "/".join(parts) + ".py"
    folder = "/".join(parts[:-1])
    return next((room for room in WHOLE_ROOMS if folder.startswith(room)), folder)


def reached(module: str, graph: Graph) -> set[str]:
    """The project's modules that `module` imports, itself included, however many steps away."""
    seen: set[str] = set()
    remaining = [module]
    while remaining:
        name = remaining.pop()
        if name not in seen and name in graph:
            seen.add(name)
            remaining += graph[name]
    return seen


def rooms_reached(module: str, graph: Graph) -> set[str]:
    """The rooms of the modules that `module` imports, its own included, however many steps away."""
    return {room_of(name) for name in reached(module, graph) - packages_of(graph)}


def is_stage(module: str) -> bool:
    """Whether a module is a file directly in stages/ (packages have been told apart by what they hold)."""
    return module.count(".") == 1 and module != "stages.__main__"


def stages_of(graph: Graph) -> set[str]:
    """The modules that are stages."""
    return {name for name in graph if is_stage(name) and name not in packages_of(graph)}


def imports_of_stages(graph: Graph) -> list[str]:
    """Stages meet through files: no module imports one."""
    return _breaches(graph, lambda name, imported: imported in stages_of(graph))


def imports_between_text_and_lm(graph: Graph) -> list[str]:
    """Text and arrays do not know each other."""
    pairs = {("text", "lm"), ("lm", "text")}
    return _breaches(graph, lambda name, imported: (_top(name), _top(imported)) in pairs)


def foreign_imports_of_lm(graph: Graph) -> list[str]:
    """`lm` runs by itself where little is installed."""

    def is_foreign(name: str, imported: str) -> bool:
        if _top(name) != "lm" or _top(imported) == "lm":
            return False
        return imported not in LM_MAY_IMPORT | LM_MAY_USE | LM_ALONE_MAY_IMPORT.get(name, set())

    return _breaches(graph, is_foreign)


def imports_of_other_params(graph: Graph) -> list[str]:
    """A module of params uses the shared types alone, and a stage its own params alone; `check` reads them all."""

    def is_other(name: str, imported: str) -> bool:
        if _top(name) == "params":
            return imported.startswith("stages") and imported not in PARAMS_MAY_USE
        own = name.replace("stages.", "stages.params.", 1)
        return name in stages_of(graph) and name != "stages.check" and _top(imported) == "params" and imported != own

    return _breaches(graph, is_other)


def misplaced_libraries(graph: Graph) -> list[str]:
    """jax stays in `lm`; the hub's slow library stays in one module."""
    readers = sorted(name for name, imported in graph.items() if "datasets" in imported)
    lines = _breaches(graph, lambda name, imported: imported in JAX and _top(name) != "lm")
    return lines + [f"{name} imports datasets, as {readers[0]} does" for name in readers[1:]]


def imports_of_test_modules(texts: Sources) -> list[str]:
    """pytest alone loads test modules and conftest.py: a line for each import of one, by the path of who imports it."""
    lines: list[str] = []
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found = (re.match(r"tests\b.*?\.(test_\w+|conftest)\b", name) for name in names)
            lines += dict.fromkeys(f"{path} imports {match[0]}" for match in found if match)
    return lines


def cycles(graph: Graph) -> list[str]:
    """No two rooms import each other, directly or through others; each line names the rooms of one cycle."""
    rooms: dict[str, set[str]] = {}
    for name, imported in graph.items():
        if name not in packages_of(graph):
            targets = {room_of(other) for other in imported if other in graph and other not in packages_of(graph)}
            rooms.setdefault(room_of(name), set()).update(targets - {room_of(name)})
    seen = {room: _reached_rooms(room, rooms) for room in rooms}
    groups = {frozenset({room, *(other for other in seen[room] if room in seen[other])}) for room in rooms}
    return [" <-> ".join(sorted(group)) for group in groups if len(group) > 1]


def _reached_rooms(room: str, rooms: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    remaining = [*rooms[room]]
    while remaining:
        other = remaining.pop()
        if other not in seen:
            seen.add(other)
            remaining += rooms[other]
    return seen


def wrong_deps(pipeline: Mapping[str, Any], graph: Graph) -> list[str]:
    """A stage's deps name exactly the rooms that it reaches, each once, and no more than a dozen."""
    lines = []
    for stage, entry in pipeline.items():
        needed = {"stages"} if stage == DEPENDS_ON_EVERYTHING else rooms_reached(f"stages.{stage}", graph)
        listed = [dep for dep in entry["deps"] if dep == "stages" or dep.startswith("stages/")]
        lines += [f"{stage} lacks {path}" for path in sorted(needed - set(listed))]
        lines += [f"{stage} does not import {path}" for path in sorted(set(listed) - needed)]
        lines += [f"{stage} lists {path} twice" for path in sorted({path for path in listed if listed.count(path) > 1})]
        lines += [f"{stage} lists {len(listed)} rooms"] if len(listed) > MOST_CODE_DEPS else []
    return lines


def _breaches(graph: Graph, is_breach: Callable[[str, str], bool]) -> list[str]:
    pairs = ((name, imported) for name, names in graph.items() for imported in sorted(names))
    return [f"{name} imports {imported}" for name, imported in pairs if is_breach(name, imported)]


def _top(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "stages" and len(parts) > 1 else ""
