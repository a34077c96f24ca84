import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.miniature.project import Project, make

# All but what DVC and git note down for themselves.
LOOKED_AT = ("data", "models", "reports", "stages", "own", "index", ".candor", ".dvc/cache", ".git/objects")


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, float]]:
    """The miniature after one run of the whole pipeline, committed, and the seconds of processor time that it took.

    Copies share files with it, so the end of the session looks whether it is still what it was.
    """
    project = make(tmp_path_factory.mktemp("finished") / "a project")
    began = _seconds_of_children()
    done = project.dvc("repro")
    assert done.returncode == 0, done.stderr
    seconds = _seconds_of_children() - began
    project.commit("Results")
    before = project.sums(*LOOKED_AT)
    yield project, seconds
    assert project.sums(*LOOKED_AT) == before, "a test changed the finished miniature, or a file that a copy shares"
    assert project.git("status", "--porcelain") == ""


@pytest.fixture(scope="session")
def finished(first_run: tuple[Project, float]) -> Project:
    """The finished miniature; tests look at it and change copies of it."""
    return first_run[0]


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished miniature that a test may change."""
    return finished.copy(tmp_path / "a copy")


def _seconds_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system
