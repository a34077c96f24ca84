"""Fine-tuning: a thin loop over steps, and what makes a stopped run go on where it was."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from stages.lm import checkpoints
from stages.lm.errors import ModelError
from stages.lm.linear import Adapter
from stages.lm.model import Decoder
from stages.lm.optimizer import Rule, learning_rate, update_rule
from stages.lm.packing import Packed, PackedShape, pack, packed_shapes
from stages.lm.steps import StepResult, compiled_step, stacked
from stages.lm.stopping import Stop, stoppable
from stages.lm.tokens import Continued

CURVE = ("step", "loss", "learning_rate", "gradient_norm", "target_tokens", "example_tokens")
LOSS = CURVE.index("loss")

# Steps over which a loss is averaged before a run is said to diverge.
SMOOTHED = 10

Advance = Callable[[float, str], None]


@dataclass(frozen=True)
class Run:
    """The fixed facts of a run: `batch` examples a step, in rows of `max_tokens`, computed in `dtype`.

    A step's examples are taken in `accumulate` parts, one after another; `remat` recomputes each layer in the backward
    pass. `keep_steps` are the steps whose model is handed out besides the last.
    """

    steps: int
    batch: int
    accumulate: int
    max_tokens: int
    checkpoint_every: int
    keep_steps: tuple[int, ...]
    rule: Rule
    dtype: jnp.dtype
    remat: bool


class State(NamedTuple):
    """What training changes: the trained weights, the optimizer's state, and the curve so far [steps, columns]."""

    weights: nnx.State
    optimizer: Any
    curve: np.ndarray


@dataclass(frozen=True)
class Outside:
    """What training is told and tells.

    `scratch` receives resume checkpoints and is where a stopped run goes on from; its name must change with the
    examples, the model and the run. A checkpoint is also saved when the last is `checkpoint_seconds` old. `keep` gets
    each step of `keep_steps` with the model after it, adapters and all.
    """

    scratch: Path
    checkpoint_seconds: float
    advance: Advance
    keep: Callable[[int, Decoder], None]


def train(model: Decoder, examples: Sequence[Continued], run: Run, outside: Outside) -> np.ndarray:
    """Fine-tunes `model` in place; returns the curve, [steps, len(CURVE)].

    Trained are the adapters where there are any, else all weights. Step s takes examples s*batch onward, wrapping.

    Raises:
        ModelError: the loss became no number, or worse than guessing.
        Stopped: a signal asked for an end; what was done is saved.
    """
    parts = [_parts(examples, run, step) for step in range(run.steps)]
    shapes = packed_shapes(parts, run.max_tokens)
    rule = update_rule(run.rule, run.steps)
    graph, trained, frozen = nnx.split(model, _trained(model), ...)  # type: ignore[misc]
    step_of = compiled_step(graph, rule, run.dtype, run.remat)
    fresh = State(trained, rule.init(trained), np.full((run.steps, len(CURVE)), np.nan, np.float32))
    start, state = checkpoints.restore_latest(outside.scratch, fresh)
    if start:
        outside.advance(start, f"resumed at step {start}")
    rate = learning_rate(run.rule, run.steps)
    due = _Due(run, outside.checkpoint_seconds)
    with stoppable() as stop:
        for step in range(start, run.steps):
            batches = _packed(parts[step], shapes[step])
            weights, optimizer, result = step_of(state.weights, state.optimizer, frozen, batches)
            state = State(weights, optimizer, state.curve)
            state.curve[step] = _curve_row(step, result, float(rate(step)), parts[step])
            _refuse_bad_loss(step, result, state.curve, run, model.config.vocab)
            done = step + 1
            if done in run.keep_steps and done < run.steps:
                outside.keep(done, nnx.merge(graph, state.weights, frozen))
            if done < run.steps and due(done, stop):
                checkpoints.save(outside.scratch, done, state)
                stop.end_if_requested()
            outside.advance(1, f"loss {state.curve[step, LOSS]:.3f}")
    nnx.update(model, state.weights)
    return state.curve


class _Due:
    """When a checkpoint is due: every so many steps or seconds, and at once where somebody asked for an end."""

    def __init__(self, run: Run, seconds: float):
        self._every = run.checkpoint_every
        self._seconds = seconds
        self._last = time.monotonic()

    def __call__(self, done: int, stop: Stop) -> bool:
        now = time.monotonic()
        due = done % self._every == 0 or now - self._last >= self._seconds or stop.requested is not None
        if due:
            self._last = now
        return due


def _trained(model: Decoder) -> type[nnx.Variable]:
    return Adapter if nnx.to_flat_state(nnx.state(model, Adapter)) else nnx.Param


def _parts(examples: Sequence[Continued], run: Run, step: int) -> list[list[Continued]]:
    """The step's examples in `accumulate` parts of equal size."""
    taken = [examples[(step * run.batch + offset) % len(examples)] for offset in range(run.batch)]
    size = run.batch // run.accumulate
    return [taken[start : start + size] for start in range(0, run.batch, size)]


def _packed(parts: Sequence[Sequence[Continued]], shape: PackedShape) -> Packed:
    return stacked([pack(part, shape) for part in parts])


def _curve_row(step: int, result: StepResult, rate: float, parts: Sequence[Sequence[Continued]]) -> tuple[float, ...]:
    loss = float(result.loss_sum) / float(result.target_count)
    used = sum(len(example.ids) for part in parts for example in part)
    return float(step + 1), loss, rate, float(result.gradient_norm), float(result.target_count), float(used)


def _refuse_bad_loss(step: int, result: StepResult, curve: np.ndarray, run: Run, vocab: int) -> None:
    way_out = (
        f"lower finetune.learning_rate (now {run.rule.learning_rate}) or finetune.clip_norm, or give more "
        "finetune.warmup_steps"
    )
    for what, value in (("loss", result.loss_sum), ("gradient", result.gradient_norm)):
        if not np.isfinite(value):
            raise ModelError(f"the {what} at step {step + 1} is {float(value)}; {way_out}")
    if step + 1 < 2 * SMOOTHED:
        return
    first, last = curve[:SMOOTHED, LOSS].mean(), curve[step + 1 - SMOOTHED : step + 1, LOSS].mean()
    if last > max(1.5 * first, math.log(vocab)):
        raise ModelError(
            f"the loss diverges: {last:.2f} over the steps up to {step + 1}, {first:.2f} over the first, and guessing "
            f"at random would be {math.log(vocab):.2f}; {way_out}"
        )
