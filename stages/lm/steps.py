"""One training step: the gradient of the mean loss over all target tokens of its micro-batches, and the update."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from stages.lm.model import Decoder
from stages.lm.packing import Packed
from stages.lm.shapes import Array, Float


class StepResult(NamedTuple):
    """What a step says of itself: the loss as (sum, count) over target tokens, and the gradient's global norm."""

    loss_sum: Float[Array, ""]
    target_count: Float[Array, ""]
    gradient_norm: Float[Array, ""]


Step = Callable[[nnx.State, Any, nnx.State, Packed], tuple[nnx.State, Any, StepResult]]


def token_loss(
    model: Decoder, batch: Packed, dtype: jnp.dtype, remat: bool
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Negative log-likelihood of the target tokens as (sum, count), in float32."""
    tokens_RT, positions_RT, ends_RT = map(jnp.asarray, (batch.tokens_RT, batch.positions_RT, batch.ends_RT))
    hidden_RTD = model(tokens_RT, positions_RT, ends_RT, dtype, remat)
    hidden_PD = hidden_RTD.reshape(-1, hidden_RTD.shape[-1])[batch.predictors_P]
    logprobs_PV = jax.nn.log_softmax(model.logits(hidden_PD), axis=-1)
    logprobs_P = jnp.take_along_axis(logprobs_PV, jnp.asarray(batch.targets_P)[:, None], axis=-1)[:, 0]
    weights_P = jnp.asarray(batch.weights_P)
    return -jnp.sum(logprobs_P * weights_P), jnp.sum(weights_P)


def stacked(batches: Sequence[Packed]) -> Packed:
    """A step's micro-batches, of one shape, with a leading axis."""
    return Packed(*(np.stack(arrays) for arrays in zip(*batches, strict=True)))


def compiled_step(
    graph: nnx.GraphDef[Decoder], rule: optax.GradientTransformation, dtype: jnp.dtype, remat: bool
) -> Step:
    """The jitted step; weights and optimizer state are given away to it.

    Micro-batches are added up as sums of losses and of gradients, and divided by the target tokens of all of them at
    the end: K micro-batches are one batch, whatever their lengths.
    """

    def loss(weights: nnx.State, frozen: nnx.State, batch: Packed) -> tuple[Array, Array]:
        return token_loss(nnx.merge(graph, weights, frozen), batch, dtype, remat)

    def gradients(weights: nnx.State, frozen: nnx.State, batches: Packed) -> tuple[Array, Array, nnx.State]:
        def one(batch: Packed) -> tuple[Array, Array, nnx.State]:
            (total, count), gradient = jax.value_and_grad(loss, has_aux=True)(weights, frozen, batch)
            return total, count, gradient

        if batches.tokens_RT.shape[0] == 1:
            return one(Packed(*(array[0] for array in batches)))  # without a second copy of all gradients
        zero = jnp.zeros(())
        sums = (zero, zero, jax.tree.map(jnp.zeros_like, weights))
        return jax.lax.scan(lambda sums, batch: (jax.tree.map(jnp.add, sums, one(batch)), None), sums, batches)[0]

    def step(weights: nnx.State, optimizer: Any, frozen: nnx.State, batches: Packed) -> tuple[Any, Any, StepResult]:
        total, count, summed = gradients(weights, frozen, batches)
        gradient = jax.tree.map(lambda leaf: leaf / count, summed)
        updates, optimizer = rule.update(gradient, optimizer, weights)
        result = StepResult(total, count, optax.tree.norm(gradient))
        return optax.apply_updates(weights, updates), optimizer, result

    return jax.jit(step, donate_argnums=(0, 1))
