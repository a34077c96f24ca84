"""From safetensors to a decoder and back: one table from Hugging Face keys to leaves of the model.

Layers are stacked: the leaf `layers/attention/query/kernel` [L, D, N, H] holds every
`model.layers.{l}.self_attn.q_proj.weight` [N*H, D], transposed.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages.lm.config import ModelConfig
from stages.lm.errors import ModelError
from stages.lm.folder import WEIGHTS, WEIGHTS_INDEX
from stages.lm.model import Decoder
from stages.lm.shapes import Array
from stages.lm.sharding import whole

LeafPath = tuple[str, ...]
Place = Callable[[LeafPath, np.ndarray], Array]
_TYPES = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class Leaf:
    """Where a leaf of the model stands in a file: its key ({layer} for stacked ones) and whether it is transposed."""

    key: str
    transposed: bool

    @property
    def stacked(self) -> bool:
        """Whether the leaf holds one array per layer."""
        return "{layer}" in self.key


_BLOCK = "model.layers.{layer}."
_PROJECTIONS = {
    ("attention", "query"): "self_attn.q_proj",
    ("attention", "key"): "self_attn.k_proj",
    ("attention", "value"): "self_attn.v_proj",
    ("attention", "out"): "self_attn.o_proj",
    ("mlp", "gate"): "mlp.gate_proj",
    ("mlp", "up"): "mlp.up_proj",
    ("mlp", "down"): "mlp.down_proj",
}
LEAVES: dict[LeafPath, Leaf] = {
    ("embedding",): Leaf("model.embed_tokens.weight", False),
    ("head",): Leaf("lm_head.weight", False),
    ("norm", "scale"): Leaf("model.norm.weight", False),
    ("layers", "attention_norm", "scale"): Leaf(_BLOCK + "input_layernorm.weight", False),
    ("layers", "mlp_norm", "scale"): Leaf(_BLOCK + "post_attention_layernorm.weight", False),
    **{("layers", *path, "kernel"): Leaf(f"{_BLOCK}{name}.weight", True) for path, name in _PROJECTIONS.items()},
    **{("layers", *path, "bias"): Leaf(f"{_BLOCK}{name}.bias", False) for path, name in _PROJECTIONS.items()},
}


def on_first_device(path: LeafPath, array: np.ndarray) -> Array:
    """Puts a leaf where JAX puts what nothing is said of."""
    return jnp.asarray(array)


def load(folder: Path, config: ModelConfig, place: Place = on_first_device) -> Decoder:
    """The decoder with the weights of a model folder, in float32, each put by `place` where it belongs.

    Raises:
        ModelError: a weight is missing, unknown or of another shape; the message lists all of them.
    """
    graph, shapes = _abstract(config)
    reader = _Reader(folder)
    _refuse_mismatches(folder, config, shapes, reader.shapes)
    arrays = [(path, place(path, _leaf(LEAVES[path], shape, config, reader))) for path, shape in shapes.items()]
    return nnx.merge(graph, nnx.from_flat_state([(path, nnx.Param(array)) for path, array in arrays]))


def check_weights(folder: Path, config: ModelConfig) -> None:
    """Refuses a model folder whose weights `load` would refuse, without reading them."""
    _refuse_mismatches(folder, config, _abstract(config)[1], _Reader(folder).shapes)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, and the index that names them where there are several.

    Raises:
        ModelError: the index is damaged or names a file outside the folder.
    """
    index = folder / WEIGHTS_INDEX
    if not index.exists():
        return [folder / WEIGHTS]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        outside = [name for name in names if Path(name).name != name]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is damaged ({error!r}); fetch it again") from None
    if outside:
        raise ModelError(f"{index} names {outside[0]!r}; weights are read from the model folder alone")
    return [index, *(folder / name for name in names)]


def _abstract(config: ModelConfig) -> tuple[nnx.GraphDef[Decoder], dict[LeafPath, tuple[int, ...]]]:
    """The model's structure and the shape of each leaf; nothing is allocated."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    return graph, {_names(path): leaf.shape for path, leaf in nnx.to_flat_state(state)}


def tensors_of(model: Decoder) -> dict[str, np.ndarray]:
    """The model's weights, adapters apart, by Hugging Face key; of several processes that hold it all have to ask."""
    tensors: dict[str, np.ndarray] = {}
    for leaf_path, array in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        tensors |= dict(_named(LEAVES[_names(leaf_path)], whole(array[...]), model.config))
    return dict(sorted(tensors.items()))


def save(tensors: dict[str, np.ndarray], path: Path) -> None:
    """Writes what `tensors_of` gave as one safetensors file, in float32."""
    save_file(tensors, path, metadata={"format": "pt"})


def _names(path: tuple[Any, ...]) -> LeafPath:
    return tuple(str(key) for key in path)


def _named(leaf: Leaf, array: np.ndarray, config: ModelConfig) -> Iterator[tuple[str, np.ndarray]]:
    layers = enumerate(array) if leaf.stacked else [(0, array)]
    for layer, values in layers:
        matrix = values.reshape(_matrix_shape(leaf, values.shape, config)) if leaf.transposed else values
        rows = matrix.T if leaf.transposed else values.reshape(-1) if leaf.key.endswith("bias") else values
        yield leaf.key.format(layer=layer), np.ascontiguousarray(rows)


def _matrix_shape(leaf: Leaf, shape: tuple[int, ...], config: ModelConfig) -> tuple[int, int]:
    # A kernel is (inputs..., outputs...); only the output projection of attention has two input axes.
    inputs = config.heads * config.head_width if leaf.key.endswith("o_proj.weight") else shape[0]
    return inputs, int(np.prod(shape)) // inputs


def _leaf(leaf: Leaf, shape: tuple[int, ...], config: ModelConfig, reader: "_Reader") -> np.ndarray:
    if not leaf.stacked:
        return reader(leaf.key)
    stacked = np.empty(shape, np.float32)
    for layer in range(config.layers):
        values = reader(leaf.key.format(layer=layer))
        stacked[layer] = (values.T if leaf.transposed else values).reshape(shape[1:])
    return stacked


def _refuse_mismatches(
    folder: Path, config: ModelConfig, wanted: dict[LeafPath, tuple[int, ...]], found: dict[str, tuple[int, ...]]
) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    for path, shape in wanted.items():
        leaf = LEAVES[path]
        for layer in range(config.layers if leaf.stacked else 1):
            expected[leaf.key.format(layer=layer)] = _file_shape(leaf, shape[1:] if leaf.stacked else shape, config)
    # Some exporters repeat a tied head, and old ones keep the rotary frequencies; both follow from the rest.
    ignored = {key for key in found if key.endswith("rotary_emb.inv_freq") or (config.tied and key == "lm_head.weight")}
    problems = [f"{key} is missing" for key in expected.keys() - found.keys()]
    problems += [f"{key} is unknown" for key in found.keys() - expected.keys() - ignored]
    problems += [
        f"{key} is {found[key]}, expected {shape}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    if problems:
        raise ModelError(f"{folder}: the weights do not fit config.json: {'; '.join(sorted(problems))}")


def _file_shape(leaf: Leaf, shape: tuple[int, ...], config: ModelConfig) -> tuple[int, ...]:
    if leaf.transposed:
        return _matrix_shape(leaf, shape, config)[::-1]
    return (int(np.prod(shape)),) if leaf.key.endswith("bias") else shape


class _Reader:
    """Tensors of a model folder by key, one at a time, as float32."""

    def __init__(self, folder: Path):
        files = [_opened(path) for path in weight_files(folder) if path.suffix == ".safetensors"]
        self._place = {key: file for file in files for key in file.keys()}  # noqa: SIM118 - no dictionary
        slices = {key: file.get_slice(key) for key, file in self._place.items()}
        self.shapes = {key: tuple(entry.get_shape()) for key, entry in slices.items()}
        other = sorted(
            f"{key} is {entry.get_dtype()}" for key, entry in slices.items() if entry.get_dtype() not in _TYPES
        )
        if other:
            raise ModelError(f"{folder}: only {', '.join(_TYPES)} weights are supported, but {'; '.join(other)}")

    def __call__(self, key: str) -> np.ndarray:
        # Through jax, since numpy has no bfloat16 of its own.
        return np.asarray(self._place[key].get_tensor(key)).astype(np.float32)


def _opened(path: Path):  # type: ignore[no-untyped-def]
    try:
        return safe_open(path, framework="flax")
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; the model folder is not complete") from None
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged or not a safetensors file ({error}); fetch it again") from None


def parameters(model: Decoder) -> int:
    """How many numbers the model's weights hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
