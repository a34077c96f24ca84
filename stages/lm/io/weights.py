"""From the files of a model folder to a decoder and back."""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from stages.core.errors import ModelError
from stages.lm.io.param_names import (
    HF_PARAM_NAMES,
    ParamPath,
    ParamSpec,
    Shape,
    file_shapes,
    from_file,
    param_specs,
    to_file,
)
from stages.lm.io.safetensors_read import Tensor, open_tensors
from stages.lm.nn.config import ModelConfig
from stages.lm.nn.decoder import FLOAT32, Decoder
from stages.lm.nn.shapes import Array
from stages.lm.nn.sharding import gather_to_host, put

# Where a leaf, by its path and shape, is to lie.
ShardingFn = Callable[[ParamPath, Shape], Sharding]
EMBEDDING, HEAD = HF_PARAM_NAMES["embedding",].key, HF_PARAM_NAMES["head",].key
# Most of a leaf that is put together on this host, beyond one layer of it; the rest goes piece by piece.
PIECE_BYTES = 2**24

Tensors = dict[str, Tensor]
Piece = tuple[int, np.ndarray]


def on_first_device(path: ParamPath, shape: Shape) -> Sharding:
    """Where JAX puts what nothing is said of."""
    return SingleDeviceSharding(jax.local_devices()[0])


def load_decoder(
    folder: Path, config: ModelConfig, place: ShardingFn = on_first_device, dtype: jnp.dtype = FLOAT32
) -> Decoder:
    """The decoder with the weights of a model folder in `dtype`, each leaf where `place` says.

    The scales of norms, which are computed in float32 whatever the rest is, stay float32. Tensors go one by one to
    where they belong: on this host nothing but the one at hand is held besides the decoder.

    Raises:
        ModelError: a weight is missing, unknown, of another shape (the message lists all of them) or no finite number,
            or a tied head is not the embedding.
    """
    graph, shapes = _abstract(config)
    tensors = open_tensors(folder)
    _refuse_mismatches(folder, config, shapes, tensors)
    if config.tied and HEAD in tensors:
        _refuse_another_head(folder, tensors)
    table = param_specs(config)
    leaves = [
        (
            path,
            nnx.Param(
                _filled(_pieces(table[path], shape, tensors), shape, place(path, shape), storage_dtype(path, dtype))
            ),
        )
        for path, shape in shapes.items()
    ]
    return nnx.merge(graph, nnx.from_flat_state(leaves))


def check_weights(folder: Path, config: ModelConfig) -> None:
    """Refuses a model folder whose weights `load` would refuse by name, type or shape, without reading them."""
    _refuse_mismatches(folder, config, _abstract(config)[1], open_tensors(folder))


def tensors_of(model: Decoder) -> dict[str, np.ndarray]:
    """The model's weights, adapters apart, by Hugging Face key; of several processes that hold it all have to ask."""
    table = param_specs(model.config)
    tensors: dict[str, np.ndarray] = {}
    for leaf_path, array in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        tensors |= dict(to_file(table[_names(leaf_path)], gather_to_host(array[...]), model.config))
    return tensors


def parameters(model: Decoder) -> int:
    """How many numbers the model's weights hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def _abstract(config: ModelConfig) -> tuple[nnx.GraphDef[Decoder], dict[ParamPath, Shape]]:
    """The model's structure and the shape of each leaf; nothing is allocated."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    return graph, {_names(path): leaf.shape for path, leaf in nnx.to_flat_state(state)}


def storage_dtype(path: ParamPath, dtype: jnp.dtype) -> jnp.dtype:
    """The type that a leaf is held in of a model that is computed in `dtype`: the scales of norms stay float32."""
    return FLOAT32 if path[-1] == "scale" else dtype


def _names(path: tuple[Any, ...]) -> ParamPath:
    return tuple(str(key) for key in path)


def _pieces(leaf: ParamSpec, shape: Shape, tensors: Tensors) -> Iterator[Piece]:
    """A leaf's rows in pieces, with where each begins: a layer of a stacked one, else what PIECE_BYTES hold."""
    if leaf.stacked:
        for layer in range(shape[0]):
            key = leaf.key.format(layer=layer)
            yield layer, from_file(leaf, _finite(key, tensors[key].whole), (1, *shape[1:]))
    else:
        for start, stop in _cut(shape):
            yield start, _finite(leaf.key, tensors[leaf.key].rows(start, stop))


def _cut(shape: Shape) -> Iterator[tuple[int, int]]:
    """First and last row of each piece of an array that PIECE_BYTES hold."""
    step = max(1, PIECE_BYTES // (4 * math.prod(shape[1:])))
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def _finite(key: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ModelError(f"{key} holds numbers that are not finite; its file is damaged, fetch it again")
    return values


def _filled(pieces: Iterator[Piece], shape: Shape, lying: Sharding, dtype: jnp.dtype) -> Array:
    if 4 * math.prod(shape) <= PIECE_BYTES:
        return put(np.concatenate([values for _, values in pieces]).astype(dtype), lying)
    array = jax.jit(partial(jnp.zeros, shape, dtype), out_shardings=lying)()
    among = (
        NamedSharding(lying.mesh, PartitionSpec(None, *lying.spec[1:])) if isinstance(lying, NamedSharding) else lying
    )
    for start, values in pieces:
        # Waited for, since else pieces would heap up on this host before they are used.
        array = _filler(lying)(array, put(values.astype(dtype), among), start).block_until_ready()
    return array


@cache
def _filler(lying: Sharding) -> Callable[[Array, Array, int], Array]:
    def fill(array: Array, piece: Array, start: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(array, piece, start, axis=0)

    return jax.jit(fill, donate_argnames="array", out_shardings=lying)


def _refuse_mismatches(folder: Path, config: ModelConfig, wanted: dict[ParamPath, Shape], found: Tensors) -> None:
    expected = file_shapes(wanted, config)
    if config.tied and HEAD in found:  # some exporters repeat it
        expected[HEAD] = expected[EMBEDDING]
    # Old exporters keep the rotary frequencies, which follow from config.json.
    ignored = {key for key in found if key.endswith("rotary_emb.inv_freq")}
    problems = [f"{key} is missing" for key in expected.keys() - found.keys()]
    problems += [f"{key} is unknown" for key in found.keys() - expected.keys() - ignored]
    problems += [
        f"{key} is {found[key].shape}, expected {shape}"
        for key, shape in expected.items()
        if key in found and found[key].shape != shape
    ]
    if problems:
        raise ModelError(f"{folder}: the weights do not fit config.json: {'; '.join(sorted(problems))}")


def _refuse_another_head(folder: Path, tensors: Tensors) -> None:
    """Of a head beside the embedding that it should be, Transformers 4 takes no notice, and 5 takes it."""
    head, embedding = tensors[HEAD], tensors[EMBEDDING]
    for start, stop in _cut(embedding.shape):
        if not np.array_equal(head.rows(start, stop), embedding.rows(start, stop)):
            raise ModelError(
                f"{folder}: config.json ties the head to the embedding (tie_word_embeddings), but {HEAD} is another "
                f"than {EMBEDDING}; set that key to false where the head is meant, or remove {HEAD}"
            )
