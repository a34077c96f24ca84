"""The scratch folder `.candor/` for downloads, answers and resume state, and its locks.

`CANDOR_HOME` moves the folder (docs/environment.md). It is not an output of any stage. Uses only the standard library
and filelock.
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
    """The longest time between two checkpoints of a fine-tuning, in seconds (`CANDOR_CHECKPOINT_MINUTES`)."""
    value = os.environ.get("CANDOR_CHECKPOINT_MINUTES") or "10"
    try:
        minutes = float(value)
    except ValueError:
        minutes = 0.0
    if not minutes > 0.0:
        raise UserError(f"CANDOR_CHECKPOINT_MINUTES is {value!r}; a number of minutes above 0 is expected")
    return 60.0 * minutes


@contextmanager
def locked_dir(folder: Path, what: str) -> Iterator[Path]:
    """Creates `folder` and holds its lock during the block.

    Raises:
        UserError: another process holds the lock (perhaps a stage that DVC started and lost).
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{what} is already running in another process (it holds {folder}/lock); "
            "wait for it or stop it, then run the command again"
        ) from None
    try:
        yield folder
    finally:
        lock.release()


@contextmanager
def one_at_a_time(lock: Path, what: str) -> Iterator[None]:
    """Holds the file lock `lock` during the block, after waiting for any other process that holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(lock)
    try:
        file_lock.acquire(timeout=0)
    except Timeout:
        print(f"{what}: another process does it already (it holds {lock}); waiting", file=sys.stderr, flush=True)
        file_lock.acquire(poll_interval=0.5)
    try:
        yield
    finally:
        file_lock.release()


@contextmanager
def disk_full_as_user_error(folder: Path) -> Iterator[None]:
    """Turns a full disk or quota in the block into a UserError that names the folder that needs space."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"{folder}: no room is left on its disk; free some, or set CANDOR_HOME to a folder on another disk, "
            "then run the same command again to continue"
        ) from None
