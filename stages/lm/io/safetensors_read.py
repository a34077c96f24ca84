"""Reads safetensors files of a model folder: finds the files, parses their headers, reads tensors row by row.

Tensors are read, not memory-mapped: the pages of a mapped file count as memory of this process, so they would be a
second copy of the model.
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
    """A tensor in a file: the offset of its first byte, its type in the file, and its shape."""

    file: Path
    start: int
    type: str
    shape: tuple[int, ...]

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Reads the rows from `first` up to `stop` (along the first axis) as float32."""
        width = int(np.prod(self.shape[1:]))
        dtype = DTYPES[self.type]
        offset = self.start + first * width * dtype.itemsize
        values = np.fromfile(self.file, dtype, (stop - first) * width, offset=offset)
        return values.astype(np.float32, copy=False).reshape(-1, *self.shape[1:])

    def read(self) -> np.ndarray:
        """Reads the complete tensor as float32."""
        return self.rows(0, self.shape[0])


def open_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model folder by key; reads only the headers of the files.

    Raises:
        ModelError: a file is missing or damaged, has an unsupported type, or does not match the index.
    """
    index, *files = weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for path in files or [index]:
        tensors |= _headers(path)
    if files:
        _refuse_index_mismatch(index, tensors)
    unsupported = sorted(f"{key} is {tensor.type}" for key, tensor in tensors.items() if tensor.type not in DTYPES)
    if unsupported:
        raise ModelError(f"{folder}: only {', '.join(DTYPES)} weights are supported, but {'; '.join(unsupported)}")
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder; if there are several, the index that names them comes first.

    Raises:
        ModelError: the index is damaged or names a file outside the folder.
    """
    index = folder / WEIGHTS_INDEX
    if not index.exists():
        return [folder / WEIGHTS]
    names = sorted(set(_weight_map(index).values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise ModelError(f"{index} names {outside[0]!r}; weights are only read from the model folder itself")
    return [index, *(folder / name for name in names)]


def _headers(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="numpy"):  # checks that the header is complete and matches the file
            pass
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the model folder is incomplete") from None
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


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not all(isinstance(name, str) for name in weight_map.values()):
            raise TypeError("a file name is not a string")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is damaged ({error!r}); fetch it again") from None
    return weight_map


def _refuse_index_mismatch(index: Path, tensors: dict[str, Tensor]) -> None:
    listed, actual = _weight_map(index), {key: tensor.file.name for key, tensor in tensors.items()}
    wrong = sorted(key for key in listed.keys() | actual.keys() if listed.get(key) != actual.get(key))
    if wrong:
        raise ModelError(
            f"{index} does not match its files (wrong file for {', '.join(wrong)}); fetch the folder again"
        )
