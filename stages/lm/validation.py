"""Loss on examples that are not trained on, source by source."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stages.lm.model import Decoder
from stages.lm.packing import Packed, pack, packed_shapes
from stages.lm.steps import token_loss
from stages.lm.tokens import Continued

# Examples that are read at once: with them a forward pass takes no more memory than a training step's.
AT_ONCE = 8

Losses = Callable[[nnx.State, nnx.State], np.ndarray]


def validation_losses(
    graph: nnx.GraphDef[Decoder], sources: Mapping[str, Sequence[Continued]], length: int, dtype: jnp.dtype
) -> Losses:
    """A function of the trained and the frozen weights: the mean loss per target token of each source, [sources]."""
    batches = {name: _batches(examples, length) for name, examples in sources.items()}

    @jax.jit
    def loss(weights: nnx.State, frozen: nnx.State, batch: Packed) -> tuple[jax.Array, jax.Array]:
        return token_loss(nnx.merge(graph, weights, frozen), batch, dtype, remat=False)

    def losses(weights: nnx.State, frozen: nnx.State) -> np.ndarray:
        found = []
        for packed in batches.values():
            sums = [np.array(loss(weights, frozen, batch), np.float64) for batch in packed]
            total, count = np.sum(sums, axis=0)
            found.append(total / count)
        return np.array(found, np.float32)

    return losses


def _batches(examples: Sequence[Continued], length: int) -> list[Packed]:
    groups = [examples[start : start + AT_ONCE] for start in range(0, len(examples), AT_ONCE)]
    shapes = packed_shapes([[group] for group in groups], length)
    return [pack(group, shape) for group, shape in zip(groups, shapes, strict=True)]
