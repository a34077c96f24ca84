"""What a resume state belongs to: a hash of inputs, knobs and code, so that a changed run never takes up an old one."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from stages.project.pins import sha256_of


def of_files(files: Iterable[Path], knobs: object) -> str:
    """Twenty hexadecimal digits that change with any file's name or content and with the knobs."""
    facts = [f"{path.name} {sha256_of(path)}" for path in files]
    return hashlib.sha256("\n".join([*facts, repr(knobs)]).encode()).hexdigest()[:20]


def code(folder: str) -> list[Path]:
    """The Python files of a folder of this project, in order."""
    return sorted(Path(folder).glob("*.py"))
