"""The section `hub` of pins.yaml: wrong entries are refused, and recording a pin keeps the rest of the file."""

from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.core.params import read_document
from stages.fetch.hub_pins import HubPin, hub_pin, record

REVISION, SUM = "ab" * 20, "cd" * 32
PIN = HubPin("acme/toys", REVISION, {"wood/train-00000-of-00001.parquet": SUM})
TEXT = f"""\
# The remote sources.
archives: {{}}

# Repositories.
hub:
  toys:
    repository: acme/toys
    revision: {REVISION}
    files:
      wood/train-00000-of-00001.parquet: {SUM}
"""


def pins(folder: Path, text: str = TEXT) -> Path:
    path = folder / "pins.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_entry_becomes_a_pin(tmp_path: Path) -> None:
    assert hub_pin("toys", "acme/toys", pins(tmp_path)) == PIN


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (REVISION, "main", "hub.toys.revision is 'main'"),
        (SUM, "1a", "hub.toys.files.wood/train-00000-of-00001.parquet is '1a'"),
        ("wood/train", "../train", "hub.toys.files.../train-00000-of-00001.parquet"),
        ("acme/toys", "acme/dolls", "hub.toys.repository is acme/dolls, expected acme/toys; run `candor pin toys`"),
        ("    revision", "    revisions: 3\n    revision", "hub.toys.revisions is not a known key; the keys"),
        (
            "    repository: acme/toys\n",
            "",
            "hub.toys.repository is missing; the keys are repository, revision and files",
        ),
        (REVISION, "", "is not pinned"),
        ("toys:", "dolls:", "is not pinned"),
    ],
)
def test_a_wrong_entry_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        hub_pin("toys", "acme/toys", pins(tmp_path, TEXT.replace(old, new)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recording_a_pin_keeps_the_rest(tmp_path: Path) -> None:
    path = pins(tmp_path)
    record("dolls", HubPin("acme/dolls", REVISION, {"a.parquet": SUM}), path)
    assert path.read_text(encoding="utf-8").startswith(TEXT)
    assert hub_pin("dolls", "acme/dolls", path).files == {"a.parquet": SUM}
    record("toys", HubPin("acme/toys", "0" * 40, {"b.parquet": SUM}), path)
    assert hub_pin("toys", "acme/toys", path).revision == "0" * 40
    assert hub_pin("dolls", "acme/dolls", path).files == {"a.parquet": SUM}


def test_the_projects_own_pins_are_well_formed(tmp_path: Path) -> None:
    own = Path(__file__).parents[2] / "pins.yaml"
    for name, entry in read_document(own)["hub"].items():
        assert hub_pin(name, entry["repository"], own).files
    copy = pins(tmp_path, own.read_text(encoding="utf-8"))
    record("toys", PIN, copy)
    assert copy.read_text(encoding="utf-8").startswith(own.read_text(encoding="utf-8"))
