"""`candor export`: a folder with a tuned model and its complete card."""

from pathlib import Path

import pytest

from stages.lm.io.load import open_model
from tests.helpers.command import Candor
from tests.helpers.tiny_model import TinyModel

RECIPE = "---\nlicense: cc0-1.0\n---\n\n# tiny, fine-tuned\n"
MEASURED = "## Measured before and after\n"


@pytest.fixture
def project(tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that tuned and measured the model `tiny`."""
    tuned = tmp_path / "models" / "tuned" / "tiny"
    tuned.parent.mkdir(parents=True)
    tiny(folder=tuned)
    (tuned / "README.md").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "reports" / "cards").mkdir(parents=True)
    (tmp_path / "reports" / "cards" / "tiny.md").write_text(MEASURED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_recipe_and_measures_are_one_card(project: Path, candor: Candor) -> None:
    done = candor("export", "tiny", "shared/tiny")
    assert (done.status, done.out) == (0, "shared/tiny: tiny, ready to share\n")
    folder = project / "shared" / "tiny"
    assert (folder / "README.md").read_text(encoding="utf-8") == f"{RECIPE}\n{MEASURED}"
    for path in (project / "models" / "tuned" / "tiny").iterdir():
        if path.name != "README.md":
            assert (folder / path.name).read_bytes() == path.read_bytes()
    open_model(folder)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("models/tuned/tiny", "models/tuned/tiny does not exist"),
        ("reports/cards/tiny.md", "reports/cards/tiny.md does"),
    ],
)
def test_a_missing_input_is_named(project: Path, candor: Candor, absent: str, message: str) -> None:
    (project / absent).rename(project / "elsewhere")
    done = candor("export", "tiny", "out")
    assert done.status == 1 and message in done.err and "`dvc repro` makes it" in done.err
    assert not (project / "out").exists()


def test_an_existing_folder_is_not_overwritten(project: Path, candor: Candor) -> None:
    (project / "out").mkdir()
    done = candor("export", "tiny", "out")
    assert (done.status, done.err) == (1, "error: out already exists; name another folder, or remove it\n")
