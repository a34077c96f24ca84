"""The settings of a sweep: the value of a key as DVC takes it, the experiment's name, and the rows of the table."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.core.errors import UserError
from stages.core.params import PARAMS
from stages.tables.schemas import SWEEP_COLUMNS


def setting(document: Mapping[str, Any], key: str, value: str) -> str:
    """The text that `key` is set to: `value` as typed, put in brackets if the key holds a list and `value` is not one.

    Raises:
        UserError: params.yaml has no such key, or it is a section.
    """
    needs_brackets = isinstance(_current_value(document, key), list) and not value.startswith("[")
    return f"[{value}]" if needs_brackets else value


def changed(document: Mapping[str, Any], key: str, text: str) -> dict[str, Any]:
    """A copy of the values of params.yaml with `key` set to the YAML value `text`.

    Raises:
        UserError: there is no such key, or `text` is not valid YAML.
    """
    _current_value(document, key)
    try:
        value = YAML(typ="safe").load(text)
    except YAMLError:
        raise UserError(f"{key}: {text!r} is not valid YAML") from None
    copy = deepcopy(dict(document))
    section = copy
    *parents, name = key.split(".")
    for parent in parents:
        section = section[parent]
    section[name] = value
    return copy


def _current_value(document: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key such as `finetune.steps`."""
    value: Any = document
    parent = ""
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            known = f"; {parent or 'it'} has {', '.join(value)}" if isinstance(value, Mapping) else ""
            raise UserError(f"{PARAMS} has no key {key}{known}")
        value, parent = value[name], f"{parent}.{name}" if parent else name
    if isinstance(value, Mapping):
        raise UserError(f"{PARAMS}: {key} is a section; name one of its keys, {', '.join(value) or 'once it has any'}")
    return value


def experiment(key: str, text: str) -> str:
    """The experiment's name for a value; values with characters that a name cannot have are made unique by a hash."""
    name = re.sub(r"[^A-Za-z0-9_.+-]+|\.\.+", "-", text).strip("-.")
    suffix = "" if name == text else f"-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return f"sweep-{key}-{name}{suffix}".replace("--", "-")


def sweep_rows(text: str, model: str, metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The rows of a sweep's table for one setting and one model's metrics file."""
    numbers = [column for column in SWEEP_COLUMNS if column not in ("setting", "model", "measure")]
    for measure, entry in metrics.items():
        if "tuned" in entry:
            yield (text, model, measure, *(entry[number] for number in numbers))
