"""The safetensors files of a model folder: which they are, what is in them, and their tensors, a part at a time.

Tensors are read and not mapped: pages of a mapped file would count as this process's memory, and be a second copy of
the model.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from stages.core.errors import ModelError
from stages.lm.io.hf_folder import WEIGHTS, WEIGHTS_INDEX

DTYPES: dict[str, Any] = {"F32": np.dtype(np.float32), "BF16": np.dtype(jnp.bfloat16), "F16": np.dtype(np.float16)}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: its file, the place of its first byte, its type in the file and its shape."""

    file: Path
    start: int
    type: str
    shape: tuple[int, ...]

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Rows `first` to `stop` of it (along its first axis), in float32."""
        width = int(np.prod(self.shape[1:]))
        kind = DTYPES[self.type]
        offset = self.start + first * width * kind.itemsize
        values = np.fromfile(self.file, kind, (stop - first) * width, offset=offset)
        return values.astype(np.float32, copy=False).reshape(-1, *self.shape[1:])

    @property
    def whole(self) -> np.ndarray:
        """All of it, in float32."""
        return self.rows(0, self.shape[0])


def open_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model folder by key; of their files only the headers are read.

    Raises:
        ModelError: a file is missing, damaged, holds other types, or is not what the index says.
    """
    index, *files = weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for path in files or [index]:
        tensors |= _headers(path)
    if files:
        _refuse_other_places(index, tensors)
    other = sorted(f"{key} is {tensor.type}" for key, tensor in tensors.items() if tensor.type not in DTYPES)
    if other:
        raise ModelError(f"{folder}: only {', '.join(DTYPES)} weights are supported, but {'; '.join(other)}")
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, and before them the index that names them where there are several.

    Raises:
        ModelError: the index is damaged or names a file outside the folder.
    """
    index = folder / WEIGHTS_INDEX
    if not index.exists():
        return [folder / WEIGHTS]
    names = sorted(set(_places(index).values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise ModelError(f"{index} names {outside[0]!r}; weights are read from the model folder alone")
    return [index, *(folder / name for name in names)]


def _headers(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="numpy"):  # checks that the header is whole and fits the file
            pass
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the model folder is not complete") from None
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged or not a safetensors file ({error}); fetch it again") from None
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {
        key: Tensor(path, 8 + size + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"]))
        for key, entry in header.items()
        if key != "__metadata__"
    }


def _places(index: Path) -> dict[str, str]:
    try:
        places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not all(isinstance(name, str) for name in places.values()):
            raise TypeError("a file's name is no text")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is damaged ({error!r}); fetch it again") from None
    return places


def _refuse_other_places(index: Path, tensors: dict[str, Tensor]) -> None:
    said, found = _places(index), {key: tensor.file.name for key, tensor in tensors.items()}
    wrong = sorted(key for key in said.keys() | found.keys() if said.get(key) != found.get(key))
    if wrong:
        raise ModelError(f"{index} does not fit its files (it misplaces {', '.join(wrong)}); fetch the folder again")
