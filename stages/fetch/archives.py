"""Files from pinned archives, extracted once and verified at each use; nothing in them is run or unpickled."""

import json
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import IO

from stages.core.errors import UserError
from stages.core.files import atomic_file, write_text
from stages.core.hashing import sha256_of
from stages.core.progress import progress
from stages.core.scratch import disk_full_as_user_error, one_at_a_time
from stages.fetch.archive_pins import ArchivePin
from stages.fetch.http import MEGABYTE

Entry = tuple[str, IO[bytes]]


def member(pin: ArchivePin, name: str, also_extract: Iterable[str] = ()) -> Path:
    """The local file of the member `name` (its path in the archive) of the archive of `pin`.

    If the member has to be extracted, the same pass over the archive, which can be long, also extracts the missing ones
    of `also_extract`. The archive itself is fetched only for such a pass.

    Raises:
        UserError: the archive has no such member, or it is not a plain file, or its name leads out of the archive.
    """
    names = list(dict.fromkeys((name, *also_extract)))
    for member_name in names:
        _refuse_unsafe(pin, member_name)
    extracted = _Extracted(pin)
    if not extracted.is_intact(name):
        _extract(pin, extracted, name, names)
    return extracted.path(name)


class _Extracted:
    """The extracted members of one archive, and a record of the SHA-256 sum that each had after extraction."""

    def __init__(self, pin: ArchivePin) -> None:
        self.folder = pin.path.parent / pin.sha256[:16]
        self._record = self.folder / "members.json"

    def path(self, name: str) -> Path:
        return self.folder / "members" / name

    def sums(self) -> dict[str, str]:
        try:
            sums = json.loads(self._record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return sums if isinstance(sums, dict) else {}

    def exists(self, name: str) -> bool:
        return name in self.sums() and self.path(name).is_file()

    def is_intact(self, name: str) -> bool:
        return self.exists(name) and sha256_of(self.path(name)) == self.sums()[name]

    def add(self, sums: dict[str, str]) -> None:
        write_text(self._record, json.dumps(self.sums() | sums, indent=1, sort_keys=True) + "\n")


def _refuse_unsafe(pin: ArchivePin, name: str) -> None:
    # Backslashes and drives are refused too: a name that is unsafe on one system is refused on all.
    is_rooted = "\\" in name or "\0" in name or bool(PureWindowsPath(name).anchor)
    if is_rooted or any(part in ("", ".", "..") for part in name.split("/")):
        raise UserError(f"{pin.file}: the member name {name!r} is refused, as it may lead out of the archive's folder")


def _extract(pin: ArchivePin, extracted: _Extracted, wanted: str, names: list[str]) -> None:
    # Imported here because it takes 0.4 s, and most stages find their members already extracted.
    from stages.fetch.package_index import fetch_archive

    lock = extracted.folder / "lock"
    with one_at_a_time(lock, f"extracting from {pin.file}"), disk_full_as_user_error(extracted.folder):
        if extracted.is_intact(wanted):  # another process extracted it while this one waited for the lock
            return
        if extracted.exists(wanted):
            print(f"{extracted.path(wanted)}: changed since it was extracted; extracting it again", file=sys.stderr)
        missing = [name for name in names if name == wanted or not extracted.exists(name)]
        archive = fetch_archive(pin)
        with _archive_errors(archive):
            sums = {name: _write(extracted.path(name), content) for name, content in _entries(pin, archive, missing)}
        extracted.add(sums)
    absent = ", ".join(name for name in missing if name not in sums)
    if absent:
        tool = "zipfile" if _is_zip(pin) else "tarfile"
        raise UserError(f"{pin.file} has no member {absent}; `python -m {tool} -l {archive}` lists its members")


@contextmanager
def _archive_errors(archive: Path) -> Iterator[None]:
    """Turns the errors of tarfile and zipfile into a UserError."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{archive}: not a readable archive ({error}); delete it and run this again") from None


def _write(path: Path, content: IO[bytes]) -> str:
    with atomic_file(path) as temporary:
        with temporary.open("wb") as file:
            shutil.copyfileobj(content, file)
        return sha256_of(temporary)


def _is_zip(pin: ArchivePin) -> bool:
    return pin.file.endswith((".whl", ".zip"))


def _entries(pin: ArchivePin, archive: Path, names: list[str]) -> Iterator[Entry]:
    return (_zip_entries if _is_zip(pin) else _tar_entries)(pin, archive, names)


def _zip_entries(pin: ArchivePin, archive: Path, names: list[str]) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as zipped:
        present = set(zipped.namelist())
        for name in names:
            if name not in present:
                continue
            info = zipped.getinfo(name)
            # The mode is 0 in archives from systems without file modes.
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise _not_plain(pin, name)
            with zipped.open(info) as content:
                yield name, content


def _tar_entries(pin: ArchivePin, archive: Path, names: list[str]) -> Iterator[Entry]:
    # "|": read as one stream. A tar has no table of contents, so that seeking back would decompress from the start.
    remaining, read = set(names), 0
    with (
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw, mode="r|gz") as tar,
        progress(f"reading {pin.file}", pin.bytes / MEGABYTE, "MB") as advance,
    ):
        for info in tar:
            advance((raw.tell() - read) / MEGABYTE, "")
            read = raw.tell()
            if info.name not in remaining:
                continue
            content = tar.extractfile(info) if info.isfile() else None
            if content is None:
                raise _not_plain(pin, info.name)
            yield info.name, content
            remaining.remove(info.name)
            if not remaining:
                break


def _not_plain(pin: ArchivePin, name: str) -> UserError:
    return UserError(
        f"{pin.file}: the member {name} is refused, as it is a link, a folder or a device and not a plain file"
    )
