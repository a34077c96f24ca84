"""A sweep's words: the value that a key of params.yaml gets at each point, its experiment's name, and the table."""

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
    """What `key` is set to: `value` as it was typed, but in brackets where the key holds a list and `value` is none.

    Raises:
        UserError: params.yaml has no such key, or it is a section.
    """
    is_bare = isinstance(_present(document, key), list) and not value.startswith("[")
    return f"[{value}]" if is_bare else value


def changed(document: Mapping[str, Any], key: str, text: str) -> dict[str, Any]:
    """A copy of params.yaml's values with `key` set to what `text` says in YAML.

    Raises:
        UserError: there is no such key, or `text` is no YAML.
    """
    _present(document, key)
    try:
        value = YAML(typ="safe").load(text)
    except YAMLError:
        raise UserError(f"{key}: {text!r} is not valid YAML") from None
    copy = deepcopy(dict(document))
    place = copy
    *sections, name = key.split(".")
    for section in sections:
        place = place[section]
    place[name] = value
    return copy


def _present(document: Mapping[str, Any], key: str) -> Any:
    """The value of a key such as `finetune.steps`."""
    value: Any = document
    above = ""
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            known = f"; {above or 'it'} has {', '.join(value)}" if isinstance(value, Mapping) else ""
            raise UserError(f"{PARAMS} has no key {key}{known}")
        value, above = value[name], f"{above}.{name}" if above else name
    if isinstance(value, Mapping):
        raise UserError(f"{PARAMS}: {key} is a section; name one of its keys, {', '.join(value) or 'once it has any'}")
    return value


def experiment(key: str, text: str) -> str:
    """The name of a point's experiment; other values have other names, also where a name cannot hold them."""
    name = re.sub(r"[^A-Za-z0-9_.+-]+|\.\.+", "-", text).strip("-.")
    told_apart = "" if name == text else f"-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return f"sweep-{key}-{name}{told_apart}".replace("--", "-")


def sweep_rows(text: str, model: str, metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The rows of a point's table that say what one model's metrics file says."""
    numbers = [column for column in SWEEP_COLUMNS if column not in ("setting", "model", "measure")]
    for measure, found in metrics.items():
        if "tuned" in found:
            yield (text, model, measure, *(found[number] for number in numbers))
