"""The section `hub` of pins.yaml: revision and file hashes of every source that lies in a remote repository."""

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

# Paths below the repository, whose parts begin with no dot: no way out of the folder that files are kept in.
_PART = r"[A-Za-z0-9_+=-][A-Za-z0-9_.+=-]*"
_Path = Annotated[str, Field(pattern=rf"^{_PART}(/{_PART})*$")]

LAID_OUT = "set hub in params.yaml to a folder in the hub's layout"


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class HubPin:
    """Some files of a repository: the commit that they are read at, and the SHA-256 sum of each by its path."""

    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    files: Annotated[dict[_Path, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]], Field(min_length=1)]


def hub_pin(name: str, repository: str, path: Path = PINS, instead: str = LAID_OUT) -> HubPin:
    """The pin `name`, which must be of `repository`; `instead` is what else its user can do than pin it.

    Raises:
        UserError: the source is not pinned, or its entry has a missing, unknown or impossible key.
    """
    entry = _section(read_document(path)).get(name)
    if not isinstance(entry, dict) or not entry.get("revision"):
        raise UserError(
            f"{name}: {repository} is not pinned in {path}; `candor pin {name}` learns its revision and hashes from "
            f"where it lies, or {instead}"
        )
    try:
        pin = TypeAdapter(HubPin).validate_json(json.dumps(entry, default=str))
    except ValidationError as error:
        raise UserError("; ".join(f"{path}: {_line(name, problem)}" for problem in error.errors())) from None
    if pin.repository != repository:
        raise UserError(
            f"{path}: hub.{name}.repository is {pin.repository}, expected {repository}; `candor pin {name}` renews it"
        )
    return pin


def record(name: str, pin: HubPin, path: Path = PINS) -> None:
    """Writes the pin `name` into the file at `path`; all else there stays, comments too."""
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


def _line(name: str, problem: Any) -> str:
    place = ".".join(str(part) for part in ("hub", name, *problem["loc"]))
    if problem["type"] in ("unexpected_keyword_argument", "missing", "missing_argument"):
        return f"{place}: {problem['type'].replace('_', ' ')}; the keys are repository, revision and files"
    return f"{place} is {problem['input']!r}: {complaint(problem)}"
