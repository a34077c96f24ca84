"""`candor --version`, and the files that must name the version of pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from stages.core.params import read_document
from tests.helpers.command import Candor

ROOT = Path(__file__).parents[2]
VERSION_LINE = f"candor {version('candor')}\n"


def test_the_version_is_one_line(candor: Candor) -> None:
    assert candor("--version") == (0, VERSION_LINE, "")


def test_python_m_stages_says_the_same() -> None:
    command = [sys.executable, "-m", "stages", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (VERSION_LINE, "")


def test_it_wins_over_a_command(candor: Candor) -> None:
    assert candor("--version", "models") == (0, VERSION_LINE, "")


def test_changelog_and_citation_name_the_version_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[?(\d+\.\d+\.\d+)", changelog, re.MULTILINE)[0] == project["version"]
    citation = read_document(ROOT / "CITATION.cff")
    assert (citation["title"], citation["version"], citation["license"]) == (
        "candor", project["version"], project["license"],
    )  # fmt: skip
