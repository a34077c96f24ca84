"""The scratch folder `.candor/`: downloads and resume state, outside every stage's outputs.

`CANDOR_HOME` moves it (docs/environment.md). Standard library and filelock only.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stages.project.errors import UserError


def home() -> Path:
    """The scratch folder: `CANDOR_HOME`, or `.candor` in the current folder."""
    return Path(os.environ.get("CANDOR_HOME") or ".candor")


def checkpoint_seconds() -> float:
    """How old the last checkpoint of a fine-tuning may get, in seconds (`CANDOR_CHECKPOINT_MINUTES`)."""
    said = os.environ.get("CANDOR_CHECKPOINT_MINUTES") or "10"
    try:
        minutes = float(said)
    except ValueError:
        minutes = 0.0
    if not minutes > 0.0:
        raise UserError(f"CANDOR_CHECKPOINT_MINUTES is {said!r}; a number of minutes above 0 is expected")
    return 60.0 * minutes


@contextmanager
def held(folder: Path, what: str) -> Iterator[Path]:
    """Creates `folder` and holds its lock for the block.

    Raises:
        UserError: another process holds it (a stage that DVC lost may still be running).
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{what} is already running in another process (it holds {folder}/lock); wait for it or end it, then repeat"
        ) from None
    try:
        yield folder
    finally:
        lock.release()
