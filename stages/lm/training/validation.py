"""Validation loss: the mean loss on held-out examples, for each source."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.packing import Packed, pack, packed_shapes, row_length
from stages.lm.training.step import stacked, token_loss

# Examples per batch and group of devices: few enough that a forward pass needs no more memory than a training step.
BATCH_SIZE = 8

Losses = Callable[[nnx.State, nnx.State], np.ndarray]


def validation_losses(
    graph: nnx.GraphDef[Decoder],
    sources: Mapping[str, Sequence[PromptCompletion]],
    mesh: Mesh,
    dtype: jnp.dtype,
) -> Losses:
    """A function of the trained and the frozen weights: the mean loss per target token of each source, [sources]."""
    batches = _batches(sources, mesh)

    @jax.jit
    def loss(weights: nnx.State, frozen: nnx.State, batch: Packed) -> tuple[jax.Array, jax.Array]:
        unstacked = Packed(*(array[0] for array in batch))
        return token_loss(nnx.merge(graph, weights, frozen), unstacked, dtype, remat=False)

    def losses(weights: nnx.State, frozen: nnx.State) -> np.ndarray:
        means = []
        for source_batches in batches:
            sums = [np.array(loss(weights, frozen, batch), np.float64) for batch in source_batches]
            total, count = np.sum(sums, axis=0)
            means.append(total / count)
        return np.array(means, np.float32)

    return losses


def _batches(sources: Mapping[str, Sequence[PromptCompletion]], mesh: Mesh) -> list[list[Packed]]:
    """The batches of each source; their shapes are planned together, so that they share compiled programs."""
    groups = mesh.shape[FSDP]
    size = BATCH_SIZE * groups
    split = [
        [examples[start : start + size] for start in range(0, len(examples), size)] for examples in sources.values()
    ]
    steps = [[batch] for source_batches in split for batch in source_batches]
    shapes = iter(packed_shapes(steps, row_length(steps, groups), groups)) if steps else iter([])
    return [[stacked([pack(batch, next(shapes))], mesh) for batch in source_batches] for source_batches in split]
