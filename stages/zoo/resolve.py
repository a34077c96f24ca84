"""Resolves the model argument of a command to a model folder, which is written once into scratch."""

from pathlib import Path

from stages.core.errors import UserError
from stages.core.files import atomic_dir
from stages.core.hashing import sha256_of
from stages.core.scratch import scratch_dir
from stages.zoo.materialise import materialise
from stages.zoo.sources import GgufSource, ModelSource, registry_source

# Where the stage `base` writes model folders.
BASE = Path("models/base")


def model_folder(model: str) -> Path:
    """The folder of a model, given as a folder, a .gguf file, or a name (fetched if it is not on this machine).

    Raises:
        UserError: there is no such model, or it cannot be fetched.
    """
    path = Path(model)
    if path.is_dir():
        return path
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(
                f"{path} does not exist; a model is a name in `candor models`, a model folder or a .gguf file"
            )
        return _cached(f"{path.stem}-{sha256_of(path)[:16]}", GgufSource(path.name, path, None))
    if (BASE / model).is_dir():
        return BASE / model
    cached = scratch_dir() / "models" / model
    return cached if cached.is_dir() else _cached(model, registry_source(model))


def _cached(name: str, source: ModelSource) -> Path:
    """The model folder `name` in scratch; writes it if it does not exist."""
    folder = scratch_dir() / "models" / name
    if not folder.is_dir():
        with atomic_dir(folder) as target:
            materialise(source, target)
    return folder
