"""The scratch folder and its locks."""

from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.core.scratch import locked_dir, scratch_dir


def test_the_folder_is_in_the_project_unless_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANDOR_HOME", raising=False)
    assert scratch_dir() == Path(".candor")
    monkeypatch.setenv("CANDOR_HOME", "/elsewhere/scratch")
    assert scratch_dir() == Path("/elsewhere/scratch")
    monkeypatch.setenv("CANDOR_HOME", "")
    assert scratch_dir() == Path(".candor")


def test_a_locked_folder_is_created_and_kept(tmp_path: Path) -> None:
    with locked_dir(tmp_path / "new" / "state", "training") as folder:
        assert folder == tmp_path / "new" / "state"
        (folder / "step").touch()
    assert (folder / "step").exists()


def test_a_second_lock_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with locked_dir(folder, "training"):
        with pytest.raises(UserError) as caught, locked_dir(folder, "training toys"):
            raise AssertionError("locked twice")
        with locked_dir(tmp_path / "other", "training"):
            pass
    assert str(caught.value) == (
        f"training toys is already running in another process (it holds {folder}/lock); "
        "wait for it or stop it, then run the command again"
    )


def test_the_lock_is_released_after_the_block_and_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), locked_dir(tmp_path, "training"):
        raise ValueError("no")
    for _ in range(2):
        with locked_dir(tmp_path, "training"):
            pass
