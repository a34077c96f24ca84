"""What a resume state belongs to: a hash of inputs, knobs and code, so that a changed run never takes up an old one."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(files: Iterable[Path], knobs: object) -> str:
    """Twenty hexadecimal digits that change with any file's name or content and with the knobs."""
    facts = [f"{path.name} {sha256_of(path)}" for path in files]
    return hashlib.sha256("\n".join([*facts, repr(knobs)]).encode()).hexdigest()[:20]


def code_of(folder: str) -> list[Path]:
    """The Python files of a folder of this project, in order."""
    return sorted(Path(folder).glob("*.py"))
