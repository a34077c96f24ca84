"""Writes weights as safetensors files, tensor by tensor, so that memory never contains a second copy of the model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stages.lm.io.hf_folder import WEIGHTS, WEIGHTS_INDEX
from stages.lm.io.safetensors_read import DTYPES

# The weights of larger models are split into several files.
MAX_FILE_BYTES = 5_000_000_000


@dataclass(frozen=True)
class PendingTensor:
    """A tensor to be written: its type in the file, its shape, and a function that reads its values when needed."""

    type: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    @property
    def bytes(self) -> int:
        """Its size in a file."""
        return int(np.prod(self.shape)) * DTYPES[self.type].itemsize


PendingTensors = Mapping[str, PendingTensor]


def as_pending(tensors: Mapping[str, np.ndarray], types: Mapping[str, str]) -> PendingTensors:
    """Pending tensors for arrays in memory; `types` are their types in the file."""
    return {key: PendingTensor(types[key], array.shape, partial(np.asarray, array)) for key, array in tensors.items()}


def save_tensors(tensors: PendingTensors, folder: Path, max_file_bytes: int = MAX_FILE_BYTES) -> None:
    """Writes tensors into one file, or into several with an index if they have more than `max_file_bytes` bytes.

    Equal tensors give equal bytes, the same as the safetensors library writes.
    """
    parts = _parts(tensors, max_file_bytes)
    names = [WEIGHTS] if len(parts) == 1 else [_part_name(number, len(parts)) for number in range(1, len(parts) + 1)]
    for name, keys in zip(names, parts, strict=True):
        _write({key: tensors[key] for key in keys}, folder / name)
    if len(parts) > 1:
        weight_map = {key: name for name, keys in zip(names, parts, strict=True) for key in keys}
        total = sum(tensor.bytes for tensor in tensors.values())
        content = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / WEIGHTS_INDEX).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _parts(tensors: PendingTensors, max_file_bytes: int) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    room = max_file_bytes
    for key in sorted(tensors):
        if tensors[key].bytes > room and parts[-1]:
            parts.append([])
            room = max_file_bytes
        parts[-1].append(key)
        room -= tensors[key].bytes
    return parts


def _part_name(number: int, count: int) -> str:
    return f"model-{number:05}-of-{count:05}.safetensors"


def _write(tensors: PendingTensors, path: Path) -> None:
    # The order of the safetensors library: by type, wide types first, then by key.
    order = sorted(tensors, key=lambda key: ([*DTYPES].index(tensors[key].type), key))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key in order:
        tensor, start = tensors[key], end
        end += tensor.bytes
        header[key] = {"dtype": tensor.type, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key in order:
            values = tensors[key].read().astype(DTYPES[tensors[key].type], copy=False)
            assert values.shape == tensors[key].shape, key
            # Not numpy's tofile: on a full disk its error does not give the reason.
            file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
