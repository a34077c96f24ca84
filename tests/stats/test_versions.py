"""The versions of packages, measures and code: the commit, and whether files differ from it."""

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from stages.stats.versions import PACKAGES, revision, version_of, versions


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@localhost"]
    done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test, outside of any repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def commit(folder: Path) -> str:
    """The only commit of a repository with some code and an output, in the working directory."""
    git("init", "--quiet")
    for name in ("stages/mix.py", "reports/metrics/tiny.json", "dvc.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1\n", encoding="utf-8")
    git("add", "--all")
    git("commit", "--quiet", "--message=All")
    return git("rev-parse", "HEAD")


def test_the_revision_is_the_commit(commit: str) -> None:
    assert revision() == commit


def test_changed_code_is_dirty(commit: str) -> None:
    Path("stages/mix.py").write_text("2\n", encoding="utf-8")
    assert revision() == f"{commit}-dirty"
    git("add", "--all")
    assert revision() == f"{commit}-dirty"


def test_outputs_and_files_that_git_does_not_track_do_not_count(commit: str) -> None:
    Path("reports/metrics/tiny.json").unlink()
    Path("dvc.lock").write_text("2\n", encoding="utf-8")
    Path("notes.txt").write_text("mine\n", encoding="utf-8")
    assert revision() == commit


def test_without_a_repository_a_commit_or_git_there_is_no_revision(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert revision() is None
    git("init", "--quiet")
    assert revision() is None
    monkeypatch.setenv("PATH", str(folder))
    assert revision() is None


def test_versions_of_packages_are_those_installed() -> None:
    assert versions({}, ())["packages"] == {name: metadata.version(name) for name in PACKAGES}
    assert version_of("no-such-package") is None


def test_only_the_given_measures_are_named_in_the_order_of_the_headline() -> None:
    result = versions({"addition": 2}, {"claims_log_odds_shift", "claims_no_opinion_accuracy"})
    assert result["suites"] == {"addition": 2}
    assert list(result["measures"].items()) == [("claims_no_opinion_accuracy", 1), ("claims_log_odds_shift", 1)]
