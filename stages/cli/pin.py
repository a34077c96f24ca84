"""`candor pin`: records the newest revision and the hashes of a remote source in pins.yaml."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from stages.core.errors import UserError
from stages.core.hashing import sha256_of
from stages.fetch.hub_pins import HubPin, record
from stages.fetch.repositories import listing, receive
from stages.sources.locations import RepoFiles, Source


def pin(
    name: Annotated[str, typer.Argument(help="A model, data set, instruction set or suite that is read from the hub.")],
) -> None:
    """Writes the newest revision of the source NAME and its file hashes to pins.yaml, and prints the revision.

    Check the change (`git diff pins.yaml`) before you commit it: later runs trust the pin.
    """
    from stages.zoo.registry import MODELS, HubModel

    entry = MODELS.get(name)
    if isinstance(entry, HubModel):
        _record(name, _model_pin(name, entry.repository))
        return
    for source in _sources(name):
        _record(source.name, _newest_pin(source))


def _record(name: str, pin: HubPin) -> None:
    record(name, pin)
    print(f"{name}: {pin.repository} at {pin.revision}, {len(pin.files)} file(s)")


def _model_pin(name: str, repository: str) -> HubPin:
    """The newest commit, with the hub's SHA-256 sums of the weights; the commit itself fixes the other files."""
    from stages.fetch.hub import find

    snapshot = find(repository, "model", None)
    weights = [path for path in snapshot.files if path.endswith(".safetensors")]
    sums = {path: digest for path in weights if (digest := snapshot.sha256(path))}
    if not sums:
        raise UserError(f"{name}: {repository} has no safetensors weights at {snapshot.commit}; use another copy of it")
    return HubPin(repository, snapshot.commit, sums)


def _sources(name: str) -> tuple[RepoFiles, ...]:
    """The remote sources of a data set, instruction set or suite, or the one source of this name."""
    from stages.datasets.registry import INSTRUCTIONS, LABELLED
    from stages.suites.registry import SUITES

    known: dict[str, tuple[Source, ...]] = {
        **{entry.name: (entry.files,) for entry in (*LABELLED.values(), *INSTRUCTIONS.values())},
        **{key: tuple(entry.sources.values()) for key, entry in SUITES.items()},
    }
    remote = {key: tuple(source for source in files if isinstance(source, RepoFiles)) for key, files in known.items()}
    remote |= {source.name: (source,) for files in remote.values() for source in files}
    if not remote.get(name):
        names = ", ".join(key for key, files in remote.items() if files)
        raise UserError(f"{name!r} is not a source on the hub; those are {names}, and models (`candor models`)")
    return remote[name]


def _newest_pin(source: RepoFiles) -> HubPin:
    """The newest commit that holds the files, with their SHA-256 sums; a file without a published sum is downloaded."""
    revision, published = listing(source)
    sums = {path: digest or _download_sum(source, revision, path) for path, digest in published.items()}
    return HubPin(source.repository, revision, sums)


def _download_sum(source: RepoFiles, revision: str, path: str) -> str:
    with TemporaryDirectory() as folder:
        local = Path(folder) / "file"
        receive(source, revision, path, local)
        return sha256_of(local)
