"""Atomic writes of files and folders (standard library only, because `lm` uses it on machines with little else)."""

import errno
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# EFBIG is the error of Linux for a file that reaches a size limit.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries in other languages put the error number into the message: "(os error 28)", "[os_error_code='28']".
_ERRNO_IN_TEXT = re.compile(r"\bos.error(?:_code)?[ =']+(\d+)")


@contextmanager
def disk_full_as(path: Path) -> Iterator[None]:
    """Turns a full disk in the block into an OSError that names `path`; libraries name a temporary file or none."""
    try:
        yield
    except Exception as error:
        number = _disk_full_errno(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to `path`; renames it to `path` if the block succeeds, deletes it if it fails."""
    temporary = _temp_sibling(Path(path))
    try:
        with disk_full_as(path):
            yield temporary
            _flush_to_disk(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `path`, which replaces `path` if the block succeeds."""
    temporary = _temp_sibling(Path(path))
    temporary.mkdir()
    try:
        with disk_full_as(path):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush_to_disk(file)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` atomically, as UTF-8 with Unix line ends."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _disk_full_errno(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno if error.errno in NO_ROOM else None
    number = _ERRNO_IN_TEXT.search(str(error))
    return int(number[1]) if number and int(number[1]) in NO_ROOM else None


def _temp_sibling(path: Path) -> Path:
    """A new temporary path next to `path`; deletes the leftovers of killed processes that were writing `path`."""
    # .gitignore and .dvcignore exclude this suffix, so leftovers never count as data.
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.*.partial"):
        if not _is_running(int(leftover.name.split(".")[-3])):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    return path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush_to_disk(path: Path) -> None:
    # Without this, a power cut after the rename can leave a file with the right name and size but full of zeros.
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
