"""Fetches the files of a source from an archive, the hub, GitHub or a local folder, and verifies them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import UserError
from stages.core.hashing import sha256_of
from stages.core.scratch import disk_full_as_user_error, one_at_a_time, scratch_dir
from stages.fetch.archive_pins import archive_pin
from stages.fetch.archives import member
from stages.fetch.hub_pins import HubPin, hub_pin
from stages.fetch.repositories import receive
from stages.sources.locations import ArchiveFiles, RepoFiles, Source


@dataclass(frozen=True)
class Fetched:
    """Local files by their path in the archive or repository, in order, and their revision."""

    files: dict[str, Path]
    revision: str

    @property
    def paths(self) -> list[Path]:
        """The local files, in order."""
        return list(self.files.values())


def fetch(source: Source, hub: str, also_extract: Iterable[str] = ()) -> Fetched:
    """The local files of `source`; a repository's files come from the folder `hub`, or from the hub if that is empty.

    If an archive has to be read, the members `also_extract` are extracted in the same pass. Remote files are fetched
    at the revision that pins.yaml names, must have the SHA-256 sums that it lists, and are stored in `.candor/hub`. The
    files of a local folder need no pin; their revision is a hash of their contents.

    Raises:
        UserError: the files do not exist, are not pinned, differ from their pin, or cannot be fetched.
    """
    if isinstance(source, ArchiveFiles):
        return _from_archive(source, also_extract)
    return _from_folder(source, Path(hub)) if hub else _from_repository(source)


def _from_archive(source: ArchiveFiles, also_extract: Iterable[str]) -> Fetched:
    pin = archive_pin(source.archive)
    names = (*source.names, *also_extract)
    files = {name: member(pin, name, also_extract=names) for name in source.names}
    return Fetched(files, f"{pin.project} {pin.version}")


def _from_folder(source: RepoFiles, hub: Path) -> Fetched:
    if not hub.is_dir():
        raise UserError(
            f"params.yaml: hub is {hub}, which is not a folder; name a folder in the hub's layout, or '' for the hub"
        )
    root = hub / source.repository
    paths = source.matching([path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()])
    if not paths:
        raise UserError(
            f"{source.name}: {root} has no {' or '.join(source.layouts)}; put the files there, or set hub to '' in "
            "params.yaml"
        )
    files = {path: root / path for path in paths}
    sums = "".join(f"{path} {sha256_of(local)}\n" for path, local in files.items())
    return Fetched(files, f"sha256:{hashlib.sha256(sums.encode()).hexdigest()[:16]}")


def _from_repository(source: RepoFiles) -> Fetched:
    pin = hub_pin(source.name, source.repository)
    folder = scratch_dir() / "hub" / pin.repository / pin.revision
    files = {path: folder / path for path in sorted(pin.files)}
    for path, local in files.items():
        if not (local.is_file() and sha256_of(local) == pin.files[path]):
            _receive(source, pin, path, local)
    return Fetched(files, pin.revision)


def _receive(source: RepoFiles, pin: HubPin, path: str, local: Path) -> None:
    part = local.with_name(f"{local.name}.part")
    with one_at_a_time(local.parent / "lock", f"fetching {path}"), disk_full_as_user_error(local.parent):
        receive(source, pin.revision, path, part)
        actual = sha256_of(part)
        if actual != pin.files[path]:
            part.unlink()
            raise UserError(
                f"{source.name}: {path} of {pin.repository} has the SHA-256 sum {actual}, expected {pin.files[path]} "
                "(pins.yaml): the source changed or the file was cut short; run this again, or accept the new file "
                f"with `candor pin {source.name}`"
            )
        part.replace(local)
