"""Atomic writes of files and folders."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.files import atomic_dir, atomic_file, write_text


class Stopped(Exception):
    """Raised in the middle of a write."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_does_not_exist_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table"
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"complete")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"complete"
    assert names(path.parent) == ["table"]


def test_git_and_dvc_ignore_temporary_files(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with atomic_file(tmp_path / "table.parquet") as temporary:
        temporary.touch()
        assert temporary.match("*.partial")
        assert temporary.name.startswith(".")
    for ignoring in (".gitignore", ".dvcignore"):
        assert "*.partial" in (root / ignoring).read_text(encoding="utf-8").splitlines()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")
    with pytest.raises(Stopped), atomic_file(path) as temporary:
        temporary.write_bytes(b"ha")
        raise Stopped
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["table"]


def test_a_new_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"an old and longer one")
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_a_block_that_writes_nothing_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "table"):
        pass
    assert names(tmp_path) == []


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "table"
    with atomic_file(path) as outer, atomic_file(path) as inner:
        assert outer != inner
        outer.write_bytes(b"outer")
        inner.write_bytes(b"inner")
    assert path.read_bytes() == b"outer"  # the outer block ends last
    assert names(tmp_path) == ["table"]


def test_leftovers_of_a_killed_process_are_deleted_by_the_next_write(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".table.{ended.pid}.0123abcd.partial").write_bytes(b"half")
    (tmp_path / f".table.{os.getpid()}.0123abcd.partial").write_bytes(b"still being written")
    (tmp_path / f".model.{ended.pid}.0123abcd.partial").mkdir()
    (tmp_path / f".model.{ended.pid}.0123abcd.partial" / "shard").write_bytes(b"half")
    write_text(tmp_path / "table", "complete")
    mine = f".table.{os.getpid()}.0123abcd.partial"
    assert names(tmp_path) == sorted([f".model.{ended.pid}.0123abcd.partial", mine, "table"])
    with atomic_dir(tmp_path / "model"):
        pass
    assert names(tmp_path) == [mine, "model", "table"]


def test_a_folder_does_not_exist_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model"
    with atomic_dir(path) as temporary:
        (temporary / "shards").mkdir()
        (temporary / "shards" / "one").write_bytes(b"1")
        assert not path.exists()
    assert (path / "shards" / "one").read_bytes() == b"1"
    assert names(path.parent) == ["model"]


def test_a_new_folder_replaces_the_old_one_with_all_its_files(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("old", "new"):
        with atomic_dir(path) as temporary:
            (temporary / content).touch()
    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_dir(path) as temporary:
        (temporary / "old").touch()
    with pytest.raises(Stopped), atomic_dir(path) as temporary:
        (temporary / "new").touch()
        raise Stopped
    assert names(path) == ["old"]
    assert names(tmp_path) == ["model"]


def test_text_is_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "note", "ä\nb\n")
    assert (tmp_path / "note").read_bytes() == b"\xc3\xa4\nb\n"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "a temporary file"),
        RuntimeError("underlying IO error: No space left on device (os error 28)"),
        ValueError("Failed to write 9 bytes to file 17: No space left on device [os_error_code='28']"),
    ],
)
def test_a_full_disk_error_names_the_target_file(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(OSError) as stopped, atomic_file(tmp_path / "table"):
        raise error
    assert (stopped.value.errno, stopped.value.filename) == (errno.ENOSPC, str(tmp_path / "table"))


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), ValueError("boss error 28 of 30")])
def test_other_errors_are_unchanged(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as stopped, atomic_file(tmp_path / "table"):
        raise error
    assert stopped.value is error
