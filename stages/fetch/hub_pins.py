"""The section `hub` of pins.yaml: revision and file hashes of each source in a remote repository."""

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML

from stages.core.errors import UserError
from stages.core.files import write_text
from stages.core.params import read_document
from stages.core.validation import complaint
from stages.fetch.archive_pins import PINS

# A path in a repository. Its parts do not begin with a dot, so that it cannot lead out of the folder of the files.
_PART = r"[A-Za-z0-9_+=-][A-Za-z0-9_.+=-]*"
_Path = Annotated[str, Field(pattern=rf"^{_PART}(/{_PART})*$")]

USE_FOLDER = "set hub in params.yaml to a folder in the hub's layout"


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class HubPin:
    """Files of a repository: the commit at which they are read, and their SHA-256 sums by path."""

    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    files: Annotated[dict[_Path, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]], Field(min_length=1)]


def hub_pin(name: str, repository: str, path: Path = PINS, instead: str = USE_FOLDER) -> HubPin:
    """Reads the pin `name`, which must be of `repository`; `instead` tells the user what to do other than pinning.

    Raises:
        UserError: the source is not pinned, or its entry has missing, unknown or invalid keys.
    """
    entry = _section(read_document(path)).get(name)
    if not isinstance(entry, dict) or not entry.get("revision"):
        raise UserError(
            f"{name}: {repository} is not pinned in {path}; run `candor pin {name}` to record its revision and hashes, "
            f"or {instead}"
        )
    try:
        pin = TypeAdapter(HubPin).validate_json(json.dumps(entry, default=str))
    except ValidationError as error:
        raise UserError("; ".join(f"{path}: {_message(name, problem)}" for problem in error.errors())) from None
    if pin.repository != repository:
        raise UserError(
            f"{path}: hub.{name}.repository is {pin.repository}, expected {repository}; run `candor pin {name}` to "
            "record the pin again"
        )
    return pin


def record(name: str, pin: HubPin, path: Path = PINS) -> None:
    """Writes the pin `name` into the file at `path`, and keeps the rest of it with its comments."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # a long path and its hash stay on one line
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(path.read_text(encoding="utf-8"))
    if not isinstance(document.get("hub"), Mapping):
        document["hub"] = {}
    document["hub"][name] = {"repository": pin.repository, "revision": pin.revision, "files": dict(pin.files)}
    text = StringIO()
    yaml.dump(document, text)
    write_text(path, text.getvalue())


def _section(document: dict[str, Any]) -> dict[str, Any]:
    section = document.get("hub")
    return section if isinstance(section, dict) else {}


def _message(name: str, problem: Any) -> str:
    key = ".".join(str(part) for part in ("hub", name, *problem["loc"]))
    if problem["type"] == "unexpected_keyword_argument":
        return f"{key} is not a known key; the keys are repository, revision and files"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{key} is missing; the keys are repository, revision and files"
    return f"{key} is {problem['input']!r}: {complaint(problem)}"
