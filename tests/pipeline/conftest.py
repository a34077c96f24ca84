import os
from pathlib import Path

import pytest

from tests.miniature.project import Project, make


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, float]:
    """The miniature after one run of the whole pipeline, committed, and the seconds of processor time that it took."""
    project = make(tmp_path_factory.mktemp("finished") / "a project")
    before = _seconds_of_children()
    done = project.dvc("repro")
    assert done.returncode == 0, done.stderr
    seconds = _seconds_of_children() - before
    project.commit("Results")
    return project, seconds


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
