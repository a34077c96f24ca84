"""Fine-tuning: a pure step, a thin loop, and what makes a stopped run go on where it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from stages.lm import checkpoints
from stages.lm.errors import ModelError
from stages.lm.linear import Adapter
from stages.lm.model import Decoder
from stages.lm.optimizer import Rule, learning_rate, update_rule
from stages.lm.packing import Packed, pack, packed_shapes
from stages.lm.shapes import Array, Float
from stages.lm.tokens import Continued

CURVE = ("step", "loss", "learning_rate", "gradient_norm", "target_tokens", "example_tokens")

Advance = Callable[[float, str], None]


@dataclass(frozen=True)
class Run:
    """The fixed facts of a run: `batch` examples a step, in rows of `max_tokens`, computed in `dtype`.

    `remat` recomputes each layer in the backward pass.
    """

    steps: int
    batch: int
    max_tokens: int
    checkpoint_every: int
    rule: Rule
    dtype: jnp.dtype
    remat: bool


class State(NamedTuple):
    """What training changes: the trained weights, the optimizer's state, and the curve so far [steps, columns]."""

    weights: nnx.State
    optimizer: Any
    curve: np.ndarray


class StepResult(NamedTuple):
    """What a step says of itself: the loss as (sum, count) over target tokens, and the gradient's global norm."""

    loss_sum: Float[Array, ""]
    target_count: Float[Array, ""]
    gradient_norm: Float[Array, ""]


def train(model: Decoder, examples: Sequence[Continued], run: Run, scratch: Path, advance: Advance) -> np.ndarray:
    """Fine-tunes `model` in place; returns the curve, [steps, len(CURVE)].

    Trained are the adapters where there are any, else all weights. Step s takes examples s*batch onward, wrapping.
    `scratch` receives resume checkpoints and is where a stopped run goes on from; its name must change with the
    examples, the model and the run.

    Raises:
        ModelError: the loss became no number.
    """
    shapes = packed_shapes([_examples_of(examples, run, step) for step in range(run.steps)], run.max_tokens)
    rule = update_rule(run.rule, run.steps)
    graph, trained, frozen = nnx.split(model, _trained(model), ...)  # type: ignore[misc]
    step_of = _compiled_step(graph, rule, run)
    state = State(trained, rule.init(trained), np.full((run.steps, len(CURVE)), np.nan, np.float32))
    start, state = checkpoints.restore_latest(scratch, state)
    if start:
        advance(start, f"resumed at step {start}")
    rate = learning_rate(run.rule, run.steps)
    for step in range(start, run.steps):
        taken = _examples_of(examples, run, step)
        batch = pack(taken, shapes[step])
        weights, optimizer, result = step_of(state.weights, state.optimizer, frozen, batch)
        state = State(weights, optimizer, state.curve)
        state.curve[step] = _curve_row(step, result, float(rate(step)), taken)
        _refuse_no_number(step, result, run)
        if (step + 1) % run.checkpoint_every == 0 and step + 1 < run.steps:
            checkpoints.save(scratch, step + 1, state)
        advance(1, f"loss {state.curve[step, 1]:.3f}")
    nnx.update(model, state.weights)
    return state.curve


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


def _compiled_step(graph: nnx.GraphDef[Decoder], rule: optax.GradientTransformation, run: Run):  # type: ignore[no-untyped-def]
    def loss(weights: nnx.State, frozen: nnx.State, batch: Packed) -> tuple[Array, tuple[Array, Array]]:
        total, count = token_loss(nnx.merge(graph, weights, frozen), batch, run.dtype, run.remat)
        return total / count, (total, count)

    def step(weights: nnx.State, optimizer: Any, frozen: nnx.State, batch: Packed) -> tuple[nnx.State, Any, StepResult]:
        gradients, (total, count) = jax.grad(loss, has_aux=True)(weights, frozen, batch)
        updates, optimizer = rule.update(gradients, optimizer, weights)
        result = StepResult(total, count, optax.tree.norm(gradients))
        return optax.apply_updates(weights, updates), optimizer, result

    return jax.jit(step, donate_argnums=(0, 1))


def _trained(model: Decoder) -> type[nnx.Variable]:
    return Adapter if nnx.to_flat_state(nnx.state(model, Adapter)) else nnx.Param


def _examples_of(examples: Sequence[Continued], run: Run, step: int) -> list[Continued]:
    first = step * run.batch
    return [examples[(first + offset) % len(examples)] for offset in range(run.batch)]


def _curve_row(step: int, result: StepResult, rate: float, taken: Sequence[Continued]) -> tuple[float, ...]:
    loss = float(result.loss_sum) / float(result.target_count)
    used = sum(len(example.ids) for example in taken)
    return float(step + 1), loss, rate, float(result.gradient_norm), float(result.target_count), float(used)


def _refuse_no_number(step: int, result: StepResult, run: Run) -> None:
    for what, value in (("loss", result.loss_sum), ("gradient", result.gradient_norm)):
        if not np.isfinite(value):
            raise ModelError(
                f"the {what} at step {step + 1} is {float(value)}; lower finetune.learning_rate (now "
                f"{run.rule.learning_rate}) or finetune.clip_norm, or give more finetune.warmup_steps"
            )
