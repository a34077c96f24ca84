"""A source's files, fetched: from an archive, the hub, or a folder in its layout; all end as checked local files."""

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
    """Local files by their path in the archive or repository, in order, and the revision that they are of."""

    files: dict[str, Path]
    revision: str

    @property
    def paths(self) -> list[Path]:
        """The local files, in order."""
        return list(self.files.values())


def fetch(origin: Source, hub: str, together: Iterable[str] = ()) -> Fetched:
    """The files of `origin`; those of a repository from the folder `hub`, or from the hub where that is empty.

    A pass over an archive extracts its members `together` as well. A remote file is fetched at the revision that
    pins.yaml names, is used only with the SHA-256 sum that stands there, and lies in `.candor/hub` from then on. The
    files of a folder are its owner's: they need no pin, and their hash is the revision.

    Raises:
        UserError: there are no such files, or they are not pinned, or not those that are pinned, or cannot be fetched.
    """
    if isinstance(origin, ArchiveFiles):
        return _from_archive(origin, together)
    return _from_folder(origin, Path(hub)) if hub else _from_hub(origin)


def _from_archive(origin: ArchiveFiles, together: Iterable[str]) -> Fetched:
    pin = archive_pin(origin.archive)
    together = list(together)
    files = {name: member(pin, name, together=(*origin.names, *together)) for name in origin.names}
    return Fetched(files, f"{pin.project} {pin.version}")


def _from_folder(wanted: RepoFiles, hub: Path) -> Fetched:
    if not hub.is_dir():
        raise UserError(
            f"params.yaml: hub is {hub}, which is no folder; name one in the hub's layout, or '' for the hub"
        )
    root = hub / wanted.repository
    paths = wanted.matching([path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()])
    if not paths:
        raise UserError(
            f"{wanted.name}: {root} holds no {' or '.join(wanted.layouts)}; put the files there, or set hub to ''"
        )
    files = {path: root / path for path in paths}
    sums = "".join(f"{path} {sha256_of(local)}\n" for path, local in files.items())
    return Fetched(files, f"sha256:{hashlib.sha256(sums.encode()).hexdigest()[:16]}")


def _from_hub(wanted: RepoFiles) -> Fetched:
    pin = hub_pin(wanted.name, wanted.repository)
    kept = scratch_dir() / "hub" / pin.repository / pin.revision
    files = {path: kept / path for path in sorted(pin.files)}
    for path, local in files.items():
        if not (local.is_file() and sha256_of(local) == pin.files[path]):
            _receive(wanted, pin, path, local)
    return Fetched(files, pin.revision)


def _receive(wanted: RepoFiles, pin: HubPin, path: str, local: Path) -> None:
    part = local.with_name(f"{local.name}.part")
    with one_at_a_time(local.parent / "lock", f"fetching {path}"), disk_full_as_user_error(local.parent):
        receive(wanted, pin.revision, path, part)
        found = sha256_of(part)
        if found != pin.files[path]:
            part.unlink()
            raise UserError(
                f"{wanted.name}: {path} of {pin.repository} has the SHA-256 sum {found}, pins.yaml says "
                f"{pin.files[path]}: the source changed or was cut short; repeat, or `candor pin {wanted.name}` to "
                "accept what is there now"
            )
        part.replace(local)
