"""Hashes of files, and of what a resume state belongs to, so that a changed run never continues an old one."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from stages.core.errors import UserError

# Where this package is, whatever the current folder.
PACKAGE = Path(__file__).parents[1]


def sha256_of(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(files: Iterable[Path], facts: object) -> str:
    """Twenty hexadecimal digits that change with any file's name or content and with `facts`."""
    lines = [f"{path.name} {sha256_of(path)}" for path in files]
    return hashlib.sha256("\n".join([*lines, repr(facts)]).encode()).hexdigest()[:20]


def code_of(*rooms: str) -> list[Path]:
    """The Python files of rooms such as `lm/nn`, in order.

    Raises:
        UserError: a room has none, so that a change of its code would go unnoticed.
    """
    files = []
    for room in rooms:
        own = sorted((PACKAGE / room).rglob("*.py"))
        if not own:
            raise UserError(
                f"{PACKAGE / room} has no Python files, and kept results must follow them; install candor again"
            )
        files += own
    return files
