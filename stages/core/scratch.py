"""The scratch folder `.candor/`: downloads and resume state, outside every stage's outputs.

`CANDOR_HOME` moves it (docs/environment.md). Standard library and filelock only.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stages.core.errors import UserError
from stages.core.files import NO_ROOM


def scratch_dir() -> Path:
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
def locked_dir(folder: Path, what: str) -> Iterator[Path]:
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


@contextmanager
def one_at_a_time(lock: Path, what: str) -> Iterator[None]:
    """Holds the file lock `lock` for the block, after waiting for the process that holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        print(f"{what}: another process is at it (it holds {lock}); waiting for it", file=sys.stderr, flush=True)
        held.acquire(poll_interval=0.5)
    try:
        yield
    finally:
        held.release()


@contextmanager
def disk_full_as_user_error(folder: Path) -> Iterator[None]:
    """Turns a full disk or quota in the block into a mistake that says where room is needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"{folder}: no room is left on its disk; free some, or set CANDOR_HOME to a folder that has more, "
            "then repeat: it goes on from here"
        ) from None
