"""`candor pin`: the revision and hashes of a source, learned from where it lies and recorded in pins.yaml."""

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
    """Learns the newest revision of the source NAME and the hashes of its files, and records them in pins.yaml.

    Look at what changed (`git diff pins.yaml`) before you commit it: the pin is what later runs trust.
    """
    from stages.zoo.registry import MODELS, HubModel

    entry = MODELS.get(name)
    if isinstance(entry, HubModel):
        _say(name, _model(name, entry.repository))
        return
    for wanted in _wanted(name):
        _say(wanted.name, _learned(wanted))


def _say(name: str, learned: HubPin) -> None:
    record(name, learned)
    print(f"{name}: {learned.repository} at {learned.revision}, {len(learned.files)} file(s)")


def _model(name: str, repository: str) -> HubPin:
    """The newest commit, and the sums that the hub has of the weights; the other files' hashes are part of a commit."""
    from stages.fetch.hub import find

    found = find(repository, "model", None)
    weights = [path for path in found.files if path.endswith(".safetensors")]
    sums = {path: total for path in weights if (total := found.sha256(path))}
    if not sums:
        raise UserError(f"{name}: {repository} has no safetensors weights at {found.commit}; use another copy of it")
    return HubPin(repository, found.commit, sums)


def _wanted(name: str) -> tuple[RepoFiles, ...]:
    from stages.datasets.registry import INSTRUCTIONS, LABELLED
    from stages.suites.registry import SUITES

    known: dict[str, tuple[Source, ...]] = {
        **{entry.name: (entry.files,) for entry in (*LABELLED.values(), *INSTRUCTIONS.values())},
        **{key: tuple(entry.sources.values()) for key, entry in SUITES.items()},
    }
    remote = {key: tuple(one for one in files if isinstance(one, RepoFiles)) for key, files in known.items()}
    remote |= {one.name: (one,) for files in remote.values() for one in files}
    if not remote.get(name):
        names = ", ".join(key for key, files in remote.items() if files)
        raise UserError(f"{name!r} is no source of the hub; those are {names}, and models (`candor models`)")
    return remote[name]


def _learned(wanted: RepoFiles) -> HubPin:
    """The newest commit that holds the files, and their sums; a file is received where nobody tells its sum."""
    revision, sums = listing(wanted)
    return HubPin(
        wanted.repository, revision, {path: told or _sum(wanted, revision, path) for path, told in sums.items()}
    )


def _sum(wanted: RepoFiles, revision: str, path: str) -> str:
    with TemporaryDirectory() as folder:
        local = Path(folder) / "file"
        receive(wanted, revision, path, local)
        return sha256_of(local)
