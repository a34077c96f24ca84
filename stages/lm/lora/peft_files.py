"""Adapter files in the layout of the PEFT library, and merging them into a model folder.

`adapter_model.safetensors` contains A [rank, inputs] and B [outputs, rank] of each adapted projection; B A times
alpha / rank is added to its weight [outputs, inputs]. Transformers and vLLM load such a folder over the base model.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import safe_open
from safetensors.flax import save_file as save_arrays
from safetensors.numpy import load_file, save_file

from stages.core.errors import ModelError
from stages.lm.io.hf_folder import WEIGHTS
from stages.lm.io.param_names import HF_PARAM_NAMES
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import LoraParam
from stages.lm.nn.sharding import gather_to_host

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."


def adapter_tensors(model: Decoder, rank: int) -> dict[str, np.ndarray]:
    """The model's adapters by PEFT key; with several processes, all must call this."""
    return dict(sorted(_matrices(model, rank)))


def save_adapter(tensors: dict[str, np.ndarray], folder: Path, rank: int, alpha: float) -> None:
    """Writes the result of `adapter_tensors`, in float32, and its config into `folder`."""
    modules = sorted({key.split(".")[-3] for key in tensors})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": modules,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def save_small(folder: Path, path: Path) -> None:
    """Writes the adapter in `folder` as one bfloat16 file of half the size, with the scale in its metadata."""
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    tensors = {key: jnp.asarray(array, jnp.bfloat16) for key, array in load_file(folder / ADAPTER_WEIGHTS).items()}
    # Only one entry: safetensors writes several in random order, so equal adapters would have different bytes.
    save_arrays(tensors, path, metadata={"scale": repr(config["lora_alpha"] / config["r"])})


def merge_into(folder: Path, adapter: Path) -> None:
    """Adds the adapter file that `save_small` wrote to the float32 weights of a model folder.

    Raises:
        ModelError: the adapter belongs to another model.
    """
    weights = load_file(folder / WEIGHTS)
    scale, matrices = _read_small(adapter)
    for key in sorted({key.rsplit(".lora_", 1)[0] for key in matrices}):
        name = f"{key.removeprefix(_PREFIX)}.weight"
        a, b = (matrices[f"{key}.lora_{side}.weight"] for side in "AB")
        if name not in weights or weights[name].shape != (b.shape[0], a.shape[1]):
            raise ModelError(f"{adapter} does not belong to the model {folder}, which has no {name} of its shape")
        weights[name] += np.float32(scale) * (b @ a)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def _read_small(adapter: Path) -> tuple[float, dict[str, np.ndarray]]:
    # With flax, because numpy has no bfloat16.
    with safe_open(adapter, framework="flax") as file:
        matrices = {key: np.asarray(file.get_tensor(key).astype(jnp.float32)) for key in file.keys()}  # noqa: SIM118
        return float(file.metadata()["scale"]), matrices


def _matrices(model: Decoder, rank: int) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in nnx.to_flat_state(nnx.state(model, LoraParam)):
        *projection, name = (str(key) for key in path)
        module = HF_PARAM_NAMES[*projection, "kernel"].key.removesuffix(".weight")
        side = {"lora_a": "A", "lora_b": "B"}[name]
        for layer, values in enumerate(_flattened(gather_to_host(leaf[...]), side, rank)):
            yield f"{_PREFIX}{module.format(layer=layer)}.lora_{side}.weight", np.ascontiguousarray(values.T)


def _flattened(leaf_L: np.ndarray, side: str, rank: int) -> np.ndarray:
    """Flattens the axes of the projection: A becomes [layers, inputs, rank], and B [layers, rank, outputs]."""
    layers = leaf_L.shape[0]
    return leaf_L.reshape(layers, -1, rank) if side == "A" else leaf_L.reshape(layers, rank, -1)
