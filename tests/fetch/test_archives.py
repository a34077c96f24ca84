"""Members of pinned archives: extracted once, verified at each use, and refused if they are unsafe."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.fetch import archives, package_index
from stages.fetch.archive_pins import ArchivePin
from stages.fetch.archives import member

MEMBERS = {"top/one.json": b'{"one": 1}', "top/deep/two.json": b'{"two": 2}', "top/three.json": b'{"three": 3}'}


def _tar(extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for name, content in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return written.getvalue()


def _zip(extra: tuple[zipfile.ZipInfo, ...] = ()) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in MEMBERS.items():
            zipped.writestr(name, content)
        for info in extra:
            zipped.writestr(info, "target")
    return written.getvalue()


def _damaged(archive: bytes) -> bytes:
    return archive[:50] + b"\xff" * 40 + archive[90:]


def _tar_entry(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "top/one.json"
    return info


def _zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix
    info.external_attr = 0o120777 << 16
    return info


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path))
    monkeypatch.setattr(package_index, "pip_settings", lambda: pytest.fail("asked for an index"))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The members that each pass over an archive extracted."""
    requested: list[list[str]] = []
    entries = archives._entries

    def recording(pin: ArchivePin, archive: Path, names: list[str]) -> Iterator[archives.Entry]:
        requested.append(names)
        return entries(pin, archive, names)

    monkeypatch.setattr(archives, "_entries", recording)
    return requested


def _put(content: bytes, file: str = "some-1.0.tar.gz") -> ArchivePin:
    """A pin whose archive has been put into the downloads folder."""
    pin = ArchivePin("some", "some", "1.0", file, len(content), hashlib.sha256(content).hexdigest(), "Apache-2.0")
    pin.path.parent.mkdir(parents=True, exist_ok=True)
    pin.path.write_bytes(content)
    return pin


@pytest.mark.parametrize(
    ("make", "file"), [(_tar, "some-1.0.tar.gz"), (_zip, "some-1.0-py3-none-any.whl"), (_zip, "some-1.0.zip")]
)
def test_a_member_is_extracted_as_it_is(make: Callable[[], bytes], file: str) -> None:
    pin = _put(make(), file)
    for name, content in MEMBERS.items():
        assert member(pin, name).read_bytes() == content


def test_one_pass_extracts_all_and_the_archive_is_not_needed_again(passes: list[list[str]]) -> None:
    pin = _put(_tar())
    member(pin, "top/three.json", MEMBERS)
    pin.path.unlink()
    for name, content in MEMBERS.items():
        assert member(pin, name, MEMBERS).read_bytes() == content
    assert passes == [["top/three.json", "top/one.json", "top/deep/two.json"]]


def test_a_pass_skips_extracted_members(passes: list[list[str]]) -> None:
    pin = _put(_tar())
    member(pin, "top/one.json")
    member(pin, "top/three.json", MEMBERS)
    member(pin, "top/one.json")
    assert passes == [["top/one.json"], ["top/three.json", "top/deep/two.json"]]


def test_a_damaged_member_is_reported_and_extracted_again(capsys: pytest.CaptureFixture[str]) -> None:
    pin = _put(_tar())
    path = member(pin, "top/one.json")
    path.write_bytes(b'{"one": 2}')
    capsys.readouterr()
    assert member(pin, "top/one.json").read_bytes() == MEMBERS["top/one.json"]
    assert f"{path}: changed since it was extracted" in capsys.readouterr().err


def test_a_member_that_was_deleted_is_extracted_again() -> None:
    pin = _put(_tar())
    member(pin, "top/one.json").unlink()
    assert member(pin, "top/one.json").read_bytes() == MEMBERS["top/one.json"]


@pytest.mark.parametrize("record", ["", "[]", "{"])
def test_a_damaged_record_is_written_again(record: str) -> None:
    pin = _put(_tar())
    path = member(pin, "top/one.json")
    (path.parents[2] / "members.json").write_text(record)
    path.write_bytes(b"?")
    assert member(pin, "top/one.json").read_bytes() == MEMBERS["top/one.json"]


def test_archives_of_one_name_with_other_content_do_not_mix() -> None:
    before = member(_put(_zip(), "some.zip"), "top/one.json")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as zipped:
        zipped.writestr("top/one.json", "another")
    pin = _put(other.getvalue(), "some.zip")
    assert member(pin, "top/one.json").read_text() == "another"
    assert before.read_bytes() == MEMBERS["top/one.json"]


@pytest.mark.parametrize("make", [_tar, _zip])
def test_a_member_that_is_not_there_is_named_with_its_archive(make: Callable[[], bytes]) -> None:
    pin = _put(make(), "some.whl" if make is _zip else "some.tar.gz")
    with pytest.raises(
        UserError, match=rf"{pin.file} has no member top/four.json; `python -m (tar|zip)file -l {pin.path}`"
    ):
        member(pin, "top/one.json", ["top/four.json"])
    assert member(pin, "top/one.json").read_bytes() == MEMBERS["top/one.json"]


@pytest.mark.parametrize(
    "name",
    ["../out", "top/../../out", "/etc/out", "C:/out", "C:out", "top\\..\\..\\out", "./top", "top//out", "", "a\0b"],
)
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    pin = _put(_tar((tarfile.TarInfo(name or "empty"),)))
    with pytest.raises(UserError, match="is refused"):
        member(pin, name)
    with pytest.raises(UserError, match="is refused"):
        member(pin, "top/one.json", [name])
    assert [path.name for path in tmp_path.rglob("out")] == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_folder_or_device_in_a_tar_is_refused(kind: bytes) -> None:
    pin = _put(_tar((_tar_entry("top/odd", kind),)))
    with pytest.raises(UserError, match="top/odd is refused, as it is a link"):
        member(pin, "top/odd")


def test_a_link_in_a_zip_is_refused() -> None:
    pin = _put(_zip((_zip_link("top/odd"),)), "some.whl")
    with pytest.raises(UserError, match="top/odd is refused, as it is a link"):
        member(pin, "top/odd")


@pytest.mark.parametrize(
    ("content", "file"),
    [
        (b"no archive", "some.tar.gz"),
        (b"no archive", "some.whl"),
        (_damaged(_tar()), "some.tar.gz"),
        (_damaged(_zip()), "some.whl"),
    ],
)
def test_a_damaged_archive_is_one_line(content: bytes, file: str) -> None:
    pin = _put(content, file)
    with pytest.raises(UserError, match=f"{pin.path}: not a readable archive"):
        member(pin, "top/one.json")


def test_members_are_not_executable() -> None:
    info = tarfile.TarInfo("top/run")
    info.mode = 0o777
    assert member(_put(_tar((info,))), "top/run").stat().st_mode & 0o111 == 0
