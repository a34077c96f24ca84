"""The section `archives` of pins.yaml: pinned files of the package index, with their sizes and hashes."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from stages.core.errors import UserError
from stages.core.files import write_text
from stages.core.hashing import sha256_of
from stages.core.params import read_document
from stages.core.scratch import scratch_dir
from stages.core.validation import complaint

PINS = Path("pins.yaml")

Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class ArchivePin:
    """One file of a project on the package index.

    `file` is its name there, `bytes` its size, `sha256` its hash in lower-case hexadecimal digits, and `licence` the
    licence of its content as an SPDX identifier.
    """

    name: str
    project: Text
    version: Text
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+!-]*$")]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: Text

    @property
    def path(self) -> Path:
        """The local path of the file, whether it was fetched or put there by hand."""
        return scratch_dir() / "downloads" / self.file

    def mismatch(self, path: Path) -> str:
        """How the file at `path` differs from this pin; empty if it is the pinned file."""
        size = path.stat().st_size
        if size != self.bytes:
            return f"its size is {size:,} bytes, expected {self.bytes:,}"
        digest = sha256_of(path)
        return "" if digest == self.sha256 else f"its SHA-256 sum is {digest}, expected {self.sha256}"

    def is_verified(self) -> bool:
        """Whether the file at `path` is unchanged since `mark_verified`; saves hashing hundreds of megabytes."""
        return self._record.is_file() and self._record.read_bytes() == self._state().encode()

    def mark_verified(self) -> None:
        """Records the size and modification time of the file at `path` as those of the pinned file."""
        write_text(self._record, self._state())

    @property
    def _record(self) -> Path:
        return self.path.with_name(f"{self.file}.verified.json")

    def _state(self) -> str:
        status = self.path.stat()
        return json.dumps({"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": self.sha256})


def archive_pin(name: str, path: Path = PINS) -> ArchivePin:
    """Reads the pin of the archive called `name`.

    Raises:
        UserError: there is no such archive, or its entry has unknown, missing or invalid keys; names all of them.
    """
    archives = read_document(path).get("archives")
    if not isinstance(archives, dict):
        raise UserError(f"{path}: the section archives is missing or has no entries")
    if name not in archives:
        raise UserError(f"{path}: archives has no {name!r}; it has {', '.join(sorted(map(str, archives)))}")
    entry = archives[name]
    location = f"{path}: archives.{name}"
    if not isinstance(entry, dict):
        raise UserError(f"{location} is {entry!r}, but should have the keys {_keys()}")
    try:
        return ArchivePin(name, **{str(key): value for key, value in entry.items()})
    except ValidationError as error:
        raise UserError("; ".join(_message(location, problem) for problem in error.errors())) from None


def _keys() -> str:
    return ", ".join(field.name for field in fields(ArchivePin) if field.name != "name")


def _message(location: str, problem: Any) -> str:
    key = f"{location}.{problem['loc'][0]}"
    if problem["type"] in ("unexpected_keyword_argument", "multiple_argument_values"):
        return f"{key} is not a known key; the keys are {_keys()}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{key} is missing; the keys are {_keys()}"
    return f"{key} is {problem['input']!r}: {complaint(problem)}"
