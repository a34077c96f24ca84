"""The Dockerfile names existing files, targets and extras; the image itself is not built here."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()


def test_copied_files_exist_and_are_in_git() -> None:
    sources = [source for line in LINES if line.startswith("COPY ") for source in line.split()[1:-1]]
    listed = subprocess.run(["git", "ls-files", *sources], cwd=ROOT, capture_output=True, text=True, check=True)
    tops = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert set(sources) == tops >= {"Makefile", "pyproject.toml", "README.md", "stages"}


@pytest.mark.parametrize("extras", re.findall(r"EXTRAS=(\w+)", "\n".join(LINES)))
def test_the_lock_file_of_each_extra_is_copied(extras: str) -> None:
    assert any("requirements" in line.split() for line in LINES if line.startswith("COPY "))
    assert (ROOT / "requirements" / f"{extras}.lock").is_file()


def test_the_interpreter_is_one_that_the_project_runs_on() -> None:
    [version] = re.findall(r"^FROM python:3\.(\d+)-slim$", "\n".join(LINES), re.MULTILINE)
    [lowest, below] = re.findall(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', read("pyproject.toml"), re.MULTILINE)[0]
    assert int(lowest) <= int(version) < int(below)


def test_the_targets_that_are_made_exist() -> None:
    used = re.findall(r"^RUN make (\w+)", "\n".join(LINES), re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    assert used and set(used) <= set(targets)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
