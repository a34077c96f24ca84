"""Files and folders that appear complete or not at all (standard library only: `lm` uses this on bare machines)."""

import errno
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Linux gives the last one where a limit on the size of files is reached.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries that are no Python pass the system's number on in words: "(os error 28)", "[os_error_code='28']".
_SYSTEMS_NUMBER = re.compile(r"\bos.error(?:_code)?[ =']+(\d+)")


@contextmanager
def disk_full_as(path: Path) -> Iterator[None]:
    """Makes a full disk in the block an OSError about `path`; libraries name a temporary file, their source or none."""
    try:
        yield
    except Exception as error:
        number = _no_room(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block succeeds, removes it when it fails."""
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
    """Yields a temporary folder beside `path`, which takes the place of `path` when the block succeeds."""
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
    """Writes `text` as UTF-8 with Unix line ends, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _no_room(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno if error.errno in NO_ROOM else None
    number = _SYSTEMS_NUMBER.search(str(error))
    return int(number[1]) if number and int(number[1]) in NO_ROOM else None


def _temp_sibling(path: Path) -> Path:
    """A fresh temporary path beside `path`; what killed writers of `path` left behind is removed."""
    # The ending is in .gitignore and .dvcignore, so that leftovers never count as data.
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
    # Without this a power cut after the rename can leave a file of the right name and size full of zeros.
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
