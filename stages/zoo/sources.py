"""Resolves a model's name to one of five kinds of source, without fetching weights."""

import re
from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import UserError
from stages.fetch import hub
from stages.fetch.hub_pins import HubPin, hub_pin
from stages.zoo.registry import MODELS, BundledModel, HubModel, Organism

# Owner and name.
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


@dataclass(frozen=True)
class FolderSource:
    """A user's model folder; `sha256` is the hash of its weights, if params.yaml names one."""

    name: str
    folder: Path
    sha256: str | None


@dataclass(frozen=True)
class GgufSource:
    """A user's .gguf file; `sha256` is its hash, if params.yaml names one."""

    name: str
    file: Path
    sha256: str | None


@dataclass(frozen=True)
class HubSource:
    """A repository on the hub at one commit; `pin` has the hashes of its files if it is a model of the registry."""

    name: str
    listing: hub.Listing
    sha256: str | None
    pin: HubPin | None


@dataclass(frozen=True)
class BundledSource:
    """A GGUF file in an archive of pins.yaml."""

    model: BundledModel


@dataclass(frozen=True)
class OrganismSource:
    """A bundled model with an adapter that this project ships."""

    name: str
    organism: Organism
    base: BundledSource


ModelSource = FolderSource | GgufSource | HubSource | BundledSource | OrganismSource


def registry_source(name: str) -> ModelSource:
    """The source of the registry's model `name`.

    Raises:
        UserError: the registry has no such model, or the model is on the hub and not pinned.
    """
    if name not in MODELS:
        raise UserError(
            f"the model {name!r} is not known: it is not a folder, a .gguf file or a name in `candor models`; "
            f"for a model in own_models, run `dvc repro base@{name}` first"
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
    """The pin of a registry model on the hub.

    Raises:
        UserError: it is not pinned.
    """
    return hub_pin(name, entry.repository, instead="name a copy of it that you have: a folder or a .gguf file")


def own_source(name: str, source: str, revision: str | None, sha256: str | None) -> ModelSource:
    """The source of a user's own model: a model folder, a .gguf file, or a hub id.

    Raises:
        UserError: there is no such model, or params.yaml names neither the revision nor the hash of a hub model.
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
            f"own_models.{name}.from is {source}: no model folder and no .gguf file is there, and it is not a hub id"
        )
    listing = hub.find(source, "model", revision)
    if revision is None and sha256 is None:
        raise UserError(
            f"own_models.{name}: {source} is on the hub, where it may change; set `revision` "
            f"(the newest is {listing.commit}) or the `sha256` of its weights"
        )
    return HubSource(name, listing, sha256, None)
