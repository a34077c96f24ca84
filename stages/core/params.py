"""Reads and validates params.yaml, the only source of settings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stages.core.errors import UserError
from stages.core.validation import complaint

PARAMS = Path("params.yaml")
# However the file was edited, the last commit has every key with a comment.
ALL_KEYS = "`git show HEAD:params.yaml`"

# Keys of earlier versions, and their current names.
RENAMED = {
    "finetune.batch": "finetune.batch_size",
    "finetune.accumulate": "finetune.gradient_accumulation_steps",
    "finetune.clip_norm": "finetune.max_grad_norm",
    "finetune.validate_every": "finetune.eval_steps",
    "finetune.checkpoint_every": "finetune.save_steps",
    "finetune.too_long": "finetune.overlength",
    "mix.parts": "mix.phases",
    "measure.resamples": "measure.bootstrap_samples",
}


class StageParams(Protocol):
    """The params of a stage: some top-level keys of params.yaml and, unless `section` is None, one section of it.

    `top_level` may also name a key of another stage's section, such as `prompt.fidelity`.
    """

    top_level: ClassVar[tuple[str, ...]]
    section: ClassVar[str | None]


K = TypeVar("K", bound=StageParams)


def read_document(path: Path = PARAMS) -> dict[str, Any]:
    """The content of a YAML file as plain values (YAML 1.2, like DVC)."""
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run this in the project's folder") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {_one_line(error)}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path} should hold keys with values; `git show HEAD:{path}` shows those of the last commit")
    return document


def read_params(kind: type[K], path: Path = PARAMS) -> K:
    """Reads the params of type `kind` from params.yaml.

    Raises:
        UserError: a key is unknown, missing, of another type or out of range; the message names all such keys.
    """
    document = read_document(path)
    values = dict(_select(document, kind.top_level))
    if kind.section is not None:
        section = document.get(kind.section)
        if not isinstance(section, dict):
            raise UserError(f"{path}: the section {kind.section} is missing or holds no keys")
        for name in section.keys() & set(kind.top_level):
            raise UserError(f"{path}: {kind.section}.{name} is not a known key; {name} is a top-level key")
        values |= section
    try:
        # Through JSON: strict about numbers and text, but accepts a list for a tuple and a mapping for a dataclass.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        lines = dict.fromkeys(_describe(kind, document, problem) for problem in error.errors())
        raise UserError("; ".join(f"{path}: {line}" for line in lines)) from None


def _select(document: dict[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name in names:
        section, _, key = name.rpartition(".")
        mapping = document.get(section) if section else document
        if isinstance(mapping, dict) and key in mapping:
            yield key, mapping[key]


def _one_line(error: Exception) -> str:
    # The library's own message quotes several lines of the file and gives advice to programmers.
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error)


def _describe(kind: type[StageParams], document: dict[str, Any], problem: Any) -> str:
    names = [str(part) for part in problem["loc"]]
    top_level = {name.rpartition(".")[2]: name for name in kind.top_level}
    first = top_level.get(names[0], names[0] if kind.section is None else f"{kind.section}.{names[0]}")
    key = ".".join([first, *names[1:]])
    is_missing = problem["type"] in ("missing", "missing_argument")
    is_unknown = problem["type"] == "unexpected_keyword_argument"
    if is_missing or is_unknown:
        for old, new in RENAMED.items():
            if key in (old, new) and dict(_select(document, (old,))):
                return f"{old} is now called {new}; rename it"
    if is_unknown:
        return f"{key} is not a known key; {ALL_KEYS} shows all keys"
    if is_missing:
        return f"{key} is missing; {ALL_KEYS} shows it with its meaning"
    return f"{key} is {problem['input']!r}: {complaint(problem)}"
