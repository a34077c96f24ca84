"""Loads a decoder's weights from the files of a model folder, and converts a decoder back to named tensors."""

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

# The sharding for a leaf with this path and shape.
ShardingFn = Callable[[ParamPath, Shape], Sharding]
EMBEDDING, HEAD = HF_PARAM_NAMES["embedding",].key, HF_PARAM_NAMES["head",].key
# A leaf of up to this size is assembled on this host; a larger one is copied to the devices piece by piece.
PIECE_BYTES = 2**24

Tensors = dict[str, Tensor]
Piece = tuple[int, np.ndarray]


def on_first_device(path: ParamPath, shape: Shape) -> Sharding:
    """The sharding that JAX uses by default: the first device."""
    return SingleDeviceSharding(jax.local_devices()[0])


def load_decoder(
    folder: Path, config: ModelConfig, sharding_fn: ShardingFn = on_first_device, dtype: jnp.dtype = FLOAT32
) -> Decoder:
    """Loads the decoder from a model folder; weights get `dtype` and the sharding from `sharding_fn`.

    The scales of norms stay float32, because norms are always computed in float32. Tensors are copied to their devices
    one by one, so besides the decoder this host only has the current tensor in memory.

    Raises:
        ModelError: a weight is missing, unknown, of another shape (the message lists all of them) or not finite, or a
            tied head differs from the embedding.
    """
    graph, shapes = _abstract(config)
    tensors = open_tensors(folder)
    _refuse_mismatches(folder, config, shapes, tensors)
    if config.tied and HEAD in tensors:
        _refuse_untied_head(folder, tensors)
    table = param_specs(config)
    leaves = [
        (
            path,
            nnx.Param(
                _assembled(
                    _pieces(table[path], shape, tensors), shape, sharding_fn(path, shape), storage_dtype(path, dtype)
                )
            ),
        )
        for path, shape in shapes.items()
    ]
    return nnx.merge(graph, nnx.from_flat_state(leaves))


def check_weights(folder: Path, config: ModelConfig) -> None:
    """Checks the names, types and shapes of a folder's weights, without reading their values.

    Raises:
        ModelError: a weight is missing, unknown, or of another type or shape.
    """
    _refuse_mismatches(folder, config, _abstract(config)[1], open_tensors(folder))


def tensors_of(model: Decoder) -> dict[str, np.ndarray]:
    """The model's weights without adapters, by Hugging Face key; with several processes, all must call this."""
    table = param_specs(model.config)
    tensors: dict[str, np.ndarray] = {}
    for leaf_path, array in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        tensors |= dict(to_file(table[_names(leaf_path)], gather_to_host(array[...]), model.config))
    return tensors


def parameters(model: Decoder) -> int:
    """The number of parameters of the model, without adapters."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def _abstract(config: ModelConfig) -> tuple[nnx.GraphDef[Decoder], dict[ParamPath, Shape]]:
    """The model's structure and the shape of each leaf, without allocating any."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    return graph, {_names(path): leaf.shape for path, leaf in nnx.to_flat_state(state)}


def storage_dtype(path: ParamPath, dtype: jnp.dtype) -> jnp.dtype:
    """The dtype to store a leaf in, for a model that computes in `dtype`: scales of norms stay float32."""
    return FLOAT32 if path[-1] == "scale" else dtype


def _names(path: tuple[Any, ...]) -> ParamPath:
    return tuple(str(key) for key in path)


def _pieces(leaf: ParamSpec, shape: Shape, tensors: Tensors) -> Iterator[Piece]:
    """A leaf in pieces with the index of each first row: single layers if stacked, otherwise up to PIECE_BYTES."""
    if leaf.stacked:
        for layer in range(shape[0]):
            key = leaf.key.format(layer=layer)
            yield layer, from_file(leaf, _finite(key, tensors[key].read()), (1, *shape[1:]))
    else:
        for start, stop in _row_ranges(shape):
            yield start, _finite(leaf.key, tensors[leaf.key].rows(start, stop))


def _row_ranges(shape: Shape) -> Iterator[tuple[int, int]]:
    """Start and stop of the rows of each piece of up to PIECE_BYTES."""
    step = max(1, PIECE_BYTES // (4 * math.prod(shape[1:])))
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def _finite(key: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ModelError(f"{key} has values that are not finite; its file is damaged, fetch it again")
    return values


def _assembled(pieces: Iterator[Piece], shape: Shape, sharding: Sharding, dtype: jnp.dtype) -> Array:
    if 4 * math.prod(shape) <= PIECE_BYTES:
        return put(np.concatenate([values for _, values in pieces]).astype(dtype), sharding)
    array = jax.jit(partial(jnp.zeros, shape, dtype), out_shardings=sharding)()
    piece_sharding = sharding
    if isinstance(sharding, NamedSharding):
        piece_sharding = NamedSharding(sharding.mesh, PartitionSpec(None, *sharding.spec[1:]))
    for start, values in pieces:
        # Without waiting, pieces would accumulate in host memory before they are used.
        array = _filler(sharding)(array, put(values.astype(dtype), piece_sharding), start).block_until_ready()
    return array


@cache
def _filler(out_shardings: Sharding) -> Callable[[Array, Array, int], Array]:
    def fill(array: Array, piece: Array, start: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(array, piece, start, axis=0)

    return jax.jit(fill, donate_argnames="array", out_shardings=out_shardings)


def _refuse_mismatches(folder: Path, config: ModelConfig, shapes: dict[ParamPath, Shape], tensors: Tensors) -> None:
    expected = file_shapes(shapes, config)
    if config.tied and HEAD in tensors:  # some exporters write the tied head too
        expected[HEAD] = expected[EMBEDDING]
    # Old exporters write the rotary frequencies, which config.json determines.
    ignored = {key for key in tensors if key.endswith("rotary_emb.inv_freq")}
    problems = [f"{key} is missing" for key in expected.keys() - tensors.keys()]
    problems += [f"{key} is unknown" for key in tensors.keys() - expected.keys() - ignored]
    problems += [
        f"{key} is {tensors[key].shape}, expected {shape}"
        for key, shape in expected.items()
        if key in tensors and tensors[key].shape != shape
    ]
    if problems:
        raise ModelError(f"{folder}: the weights do not match config.json: {'; '.join(sorted(problems))}")


def _refuse_untied_head(folder: Path, tensors: Tensors) -> None:
    """Refuses a tied head that differs from the embedding: Transformers 4 would ignore it, and 5 would use it."""
    head, embedding = tensors[HEAD], tensors[EMBEDDING]
    for start, stop in _row_ranges(embedding.shape):
        if not np.array_equal(head.rows(start, stop), embedding.rows(start, stop)):
            raise ModelError(
                f"{folder}: config.json ties the head to the embedding (tie_word_embeddings), but {HEAD} differs "
                f"from {EMBEDDING}; set that key to false to use the head, or remove {HEAD}"
            )
