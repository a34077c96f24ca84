"""Hashes of files and code, so that a changed run neither resumes an old state nor uses old answers."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from stages.core.errors import UserError

# The folder of this package, independent of the current folder.
PACKAGE = Path(__file__).parents[1]


def sha256_of(path: Path) -> str:
    """The SHA-256 hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(files: Iterable[Path], facts: object) -> str:
    """A hash of 20 hexadecimal digits over the names and contents of files and over `facts`."""
    lines = [f"{path.name} {sha256_of(path)}" for path in files]
    return hashlib.sha256("\n".join([*lines, repr(facts)]).encode()).hexdigest()[:20]


def code_of(*rooms: str) -> list[Path]:
    """The Python files of folders of this package such as `lm/nn`, in order.

    Raises:
        UserError: a folder has none, so changes of its code would not be noticed.
    """
    files = []
    for room in rooms:
        room_files = sorted((PACKAGE / room).rglob("*.py"))
        if not room_files:
            raise UserError(
                f"{PACKAGE / room} has no Python files, so saved results cannot be checked against the code; "
                "install candor again"
            )
        files += room_files
    return files
