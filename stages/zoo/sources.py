"""What a model's name stands for: one of five kinds of source, found without fetching weights."""

import re
from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import UserError
from stages.fetch import hub
from stages.fetch.hub_pins import HubPin, hub_pin
from stages.zoo.registry import MODELS, BundledModel, HubModel, Organism

# An owner and a name.
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


@dataclass(frozen=True)
class FolderSource:
    """A model folder of the user's; `sha256` is that of its weights, where params.yaml names it."""

    name: str
    folder: Path
    sha256: str | None


@dataclass(frozen=True)
class GgufSource:
    """A .gguf file of the user's, likewise."""

    name: str
    file: Path
    sha256: str | None


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub at one commit; `pin` has the sums of its files where it is a model of the registry."""

    name: str
    listing: hub.Listing
    sha256: str | None
    pin: HubPin | None


@dataclass(frozen=True)
class BundledSource:
    """A GGUF file inside an archive of pins.yaml."""

    model: BundledModel


@dataclass(frozen=True)
class OrganismSource:
    """An adapter that the project ships, on a bundled model."""

    name: str
    organism: Organism
    base: BundledSource


ModelSource = FolderSource | GgufSource | HubSource | BundledSource | OrganismSource


def registry_source(name: str) -> ModelSource:
    """The source of the registry's model `name`.

    Raises:
        UserError: the registry has no such model, or it is on the hub and not pinned.
    """
    if name not in MODELS:
        raise UserError(
            f"the model {name!r} is not known: it is no folder, no .gguf file and no name that `candor models` lists; "
            f"of a model in own_models, `dvc repro base@{name}` makes the folder"
        )
    entry = MODELS[name]
    if isinstance(entry, HubModel):
        pin = model_pin(name, entry)
        return HubSource(name, hub.find(entry.repository, "model", pin.revision), None, pin)
    if isinstance(entry, BundledModel):
        return BundledSource(entry)
    base = MODELS[entry.base]
    assert isinstance(base, BundledModel)
    return OrganismSource(name, entry, BundledSource(base))


def model_pin(name: str, entry: HubModel) -> HubPin:
    """The pin of a registry model of the hub.

    Raises:
        UserError: it is not pinned.
    """
    return hub_pin(name, entry.repository, instead="name a copy of it that you have: a folder or a .gguf file")


def own_source(name: str, source: str, revision: str | None, sha256: str | None) -> ModelSource:
    """The source of a user's own model: a model folder, a .gguf file, or a hub id.

    Raises:
        UserError: there is no such model, or params.yaml names no revision or hash of a model that may change.
    """
    path = Path(source)
    if path.exists() and revision is not None:
        raise UserError(f"own_models.{name}.revision is for models on the hub, but {source} is a local path; remove it")
    if path.is_dir():
        return FolderSource(name, path, sha256)
    if path.is_file() and path.suffix == ".gguf":
        return GgufSource(name, path, sha256)
    if path.exists() or not HUB_ID.match(source):
        raise UserError(
            f"own_models.{name}.from is {source}: no model folder and no .gguf file is there, nor is it a hub id"
        )
    listing = hub.find(source, "model", revision)
    if revision is None and sha256 is None:
        raise UserError(
            f"own_models.{name}: {source} is on the hub, where it may change; name the revision to stay at "
            f"(the newest is {listing.commit}) or the sha256 of its weights"
        )
    return HubSource(name, listing, sha256, None)
