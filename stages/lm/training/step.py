"""The training step: the gradient of the mean loss over all target tokens of its micro-batches, and the update."""

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
    """A step's metrics: the loss as (sum, count) over target tokens, and the gradient's global norm."""

    loss_sum: Float[Array, ""]
    target_count: Float[Array, ""]
    gradient_norm: Float[Array, ""]


Step = Callable[[nnx.State, Any, nnx.State, Packed], tuple[nnx.State, Any, StepResult]]


def token_loss(
    model: Decoder, batch: Packed, dtype: jnp.dtype, remat: bool
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Negative log-likelihood of the target tokens as (sum, count), in float32."""
    tokens_BT, positions_BT, ends_BT, logit_positions_GC, targets_GC, weights_GC = map(jnp.asarray, batch)
    hidden_BTD = model(tokens_BT, positions_BT, ends_BT, dtype, remat)
    hidden_GXD = hidden_BTD.reshape(logit_positions_GC.shape[0], -1, hidden_BTD.shape[-1])
    # Group by group, so that no device reads a hidden state of another one.
    hidden_GCD = jax.vmap(lambda hidden_XD, positions_C: hidden_XD[positions_C])(hidden_GXD, logit_positions_GC)
    logprobs_GCV = jax.nn.log_softmax(model.logits(split_rows(hidden_GCD)), axis=-1)
    logprobs_GC = jnp.take_along_axis(logprobs_GCV, targets_GC[..., None], axis=-1)[..., 0]
    return -jnp.sum(logprobs_GC * weights_GC), jnp.sum(weights_GC)


def stacked(batches: Sequence[Packed], mesh: Mesh) -> Packed:
    """A step's micro-batches of equal shape, stacked along a leading axis and put on the mesh."""
    sharding = rows_sharding(mesh)
    return Packed(*(put(np.stack(arrays), sharding) for arrays in zip(*batches, strict=True)))  # type: ignore[arg-type]


def compiled_step(
    graph: nnx.GraphDef[Decoder],
    optimizer: optax.GradientTransformation,
    weights: nnx.State,
    mesh: Mesh,
    dtype: jnp.dtype,
    remat: bool,
) -> Step:
    """The jitted step for states like `weights` on the mesh; it donates the buffers of weights and optimizer state.

    It sums losses and gradients over the micro-batches, and divides by their total number of target tokens at the end:
    so the result is that of one batch, regardless of the lengths of the micro-batches.
    """
    shardings = state_shardings(mesh, weights)

    def loss(weights: nnx.State, frozen: nnx.State, batch: Packed) -> tuple[Array, Array]:
        return token_loss(nnx.merge(graph, weights, frozen), batch, dtype, remat)

    def gradients(weights: nnx.State, frozen: nnx.State, batches: Packed) -> tuple[Array, Array, nnx.State]:
        def of_batch(batch: Packed) -> tuple[Array, Array, nnx.State]:
            (total, count), gradient = jax.value_and_grad(loss, has_aux=True)(weights, frozen, batch)
            return total, count, jax.lax.with_sharding_constraint(gradient, shardings)

        if batches.tokens_BT.shape[0] == 1:
            return of_batch(Packed(*(array[0] for array in batches)))  # without a second copy of all gradients
        zero = jnp.zeros(())
        sums = (zero, zero, jax.tree.map(jnp.zeros_like, weights))
        return jax.lax.scan(lambda sums, batch: (jax.tree.map(jnp.add, sums, of_batch(batch)), None), sums, batches)[0]

    def step(weights: nnx.State, opt_state: Any, frozen: nnx.State, batches: Packed) -> tuple[Any, Any, StepResult]:
        total, count, summed = gradients(weights, frozen, batches)
        gradient = jax.tree.map(lambda leaf: leaf / count, summed)
        updates, opt_state = optimizer.update(gradient, opt_state, weights)
        result = StepResult(total, count, optax.tree.norm(gradient))
        return optax.apply_updates(weights, updates), opt_state, result

    # Explicit, so that the results can be arguments again: otherwise the compiler may choose another sharding, and the
    # next call compiles a second time.
    out_shardings = (shardings, optimizer_shardings(mesh, optimizer, weights), NamedSharding(mesh, PartitionSpec()))
    return jax.jit(step, donate_argnames=("weights", "opt_state"), out_shardings=out_shardings)
