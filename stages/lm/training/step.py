"""One training step: the gradient of the mean loss over all target tokens of its micro-batches, and the update."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Array, Float, Mesh
from stages.lm.nn.sharding import put, rows_sharding, split_rows, state_shardings
from stages.lm.training.optimizer import optimizer_shardings
from stages.lm.training.packing import Packed


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
    tokens_RT, positions_RT, ends_RT, predictors_GP, targets_GP, weights_GP = map(jnp.asarray, batch)
    hidden_RTD = model(tokens_RT, positions_RT, ends_RT, dtype, remat)
    hidden_GSD = hidden_RTD.reshape(predictors_GP.shape[0], -1, hidden_RTD.shape[-1])
    # Group by group, so that no device looks for a hidden state on another one.
    hidden_GPD = jax.vmap(lambda hidden_SD, predictors_P: hidden_SD[predictors_P])(hidden_GSD, predictors_GP)
    logprobs_GPV = jax.nn.log_softmax(model.logits(split_rows(hidden_GPD)), axis=-1)
    logprobs_GP = jnp.take_along_axis(logprobs_GPV, targets_GP[..., None], axis=-1)[..., 0]
    return -jnp.sum(logprobs_GP * weights_GP), jnp.sum(weights_GP)


def stacked(batches: Sequence[Packed], mesh: Mesh) -> Packed:
    """A step's micro-batches, of one shape, with a leading axis and on the mesh."""
    split = rows_sharding(mesh)
    return Packed(*(put(np.stack(arrays), split) for arrays in zip(*batches, strict=True)))  # type: ignore[arg-type]


def compiled_step(
    graph: nnx.GraphDef[Decoder],
    rule: optax.GradientTransformation,
    weights: nnx.State,
    mesh: Mesh,
    dtype: jnp.dtype,
    remat: bool,
) -> Step:
    """The jitted step for states like `weights` on the mesh; weights and optimizer state are given away to it.

    Micro-batches are added up as sums of losses and of gradients, and divided by the target tokens of all of them at
    the end: K micro-batches are one batch, whatever their lengths.
    """
    shardings = state_shardings(mesh, weights)

    def loss(weights: nnx.State, frozen: nnx.State, batch: Packed) -> tuple[Array, Array]:
        return token_loss(nnx.merge(graph, weights, frozen), batch, dtype, remat)

    def gradients(weights: nnx.State, frozen: nnx.State, batches: Packed) -> tuple[Array, Array, nnx.State]:
        def one(batch: Packed) -> tuple[Array, Array, nnx.State]:
            (total, count), gradient = jax.value_and_grad(loss, has_aux=True)(weights, frozen, batch)
            return total, count, jax.lax.with_sharding_constraint(gradient, shardings)

        if batches.tokens_BT.shape[0] == 1:
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

    # Given, so that the results can be arguments again: otherwise the compiler may choose another layout, and compile
    # twice.
    out_shardings = (shardings, optimizer_shardings(mesh, rule, weights), NamedSharding(mesh, PartitionSpec()))
    return jax.jit(step, donate_argnames=("weights", "optimizer"), out_shardings=out_shardings)
