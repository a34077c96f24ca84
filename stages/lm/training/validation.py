"""Loss on examples that are not trained on, source by source."""

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

# Examples that are read at once by a device: with them a forward pass takes no more memory than a training step's.
AT_ONCE = 8

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
        one = Packed(*(array[0] for array in batch))
        return token_loss(nnx.merge(graph, weights, frozen), one, dtype, remat=False)

    def losses(weights: nnx.State, frozen: nnx.State) -> np.ndarray:
        found = []
        for packed in batches:
            sums = [np.array(loss(weights, frozen, batch), np.float64) for batch in packed]
            total, count = np.sum(sums, axis=0)
            found.append(total / count)
        return np.array(found, np.float32)

    return losses


def _batches(sources: Mapping[str, Sequence[PromptCompletion]], mesh: Mesh) -> list[list[Packed]]:
    """Each source's batches, planned together: they share compiled programs."""
    groups = mesh.shape[FSDP]
    size = AT_ONCE * groups
    taken = [[some[start : start + size] for start in range(0, len(some), size)] for some in sources.values()]
    parts = [[some] for batches in taken for some in batches]
    shapes = iter(packed_shapes(parts, row_length(parts, groups), groups)) if parts else iter([])
    return [[stacked([pack(some, next(shapes))], mesh) for some in batches] for batches in taken]
