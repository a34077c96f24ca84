"""Fine-tuning: a thin loop over steps, and what makes a stopped run go on where it was."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from stages.lm import checkpoints, memory
from stages.lm.health import refuse_divergence, refuse_no_number
from stages.lm.linear import Adapter
from stages.lm.model import Decoder
from stages.lm.optimizer import Rule, learning_rate, update_rule
from stages.lm.packing import Packed, PackedShape, pack, packed_shapes
from stages.lm.steps import Step, StepResult, compiled_step, stacked
from stages.lm.stopping import Stop, stoppable
from stages.lm.tokens import Continued
from stages.lm.validation import Losses, validation_losses

CURVE = ("step", "loss", "learning_rate", "gradient_norm", "target_tokens", "example_tokens")
LOSS = CURVE.index("loss")
# Of a step: seconds, tokens of its examples a second, and the most memory that was in use until then, in bytes.
PACE = ("step", "seconds", "tokens_per_second", "peak_bytes")

Advance = Callable[[float, str], None]
Parts = list[list[Continued]]


@dataclass(frozen=True)
class Run:
    """The fixed facts of a run: `batch` examples a step, in rows of `max_tokens`, computed in `dtype`.

    A step's examples are taken in `accumulate` parts, one after another; `remat` recomputes each layer in the backward
    pass. `keep_steps` are the steps whose model is handed out besides the last. Every `validate_every` steps (0: never)
    and after the last the loss on the validation examples is taken.
    """

    steps: int
    batch: int
    accumulate: int
    max_tokens: int
    checkpoint_every: int
    validate_every: int
    keep_steps: tuple[int, ...]
    rule: Rule
    dtype: jnp.dtype
    remat: bool

    @property
    def validated(self) -> list[int]:
        """The steps after which the validation loss is taken."""
        every = range(self.validate_every, self.steps, self.validate_every) if self.validate_every else ()
        return [*every, self.steps] if self.validate_every else []


class State(NamedTuple):
    """What training changes: the trained weights, the optimizer's state, and the curves so far.

    `curve` is [steps, columns], `validation` [validated steps, sources].
    """

    weights: nnx.State
    optimizer: Any
    curve: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Outside:
    """What training is told and tells.

    `scratch` receives resume checkpoints and is where a stopped run goes on from; its name must change with the
    examples, the model and the run. A checkpoint is also saved when the last is `checkpoint_seconds` old. `keep` gets
    each step of `keep_steps` with the model after it, adapters and all. `free_bytes` says what a CPU has left. `log` is
    told what differs from run to run: PACE, step by step.
    """

    scratch: Path
    checkpoint_seconds: float
    advance: Advance
    keep: Callable[[int, Decoder], None]
    free_bytes: Callable[[], int]
    log: Callable[[Sequence[float]], None] = lambda pace: None


@dataclass(frozen=True)
class Material:
    """The examples to train on, and by source those to validate on."""

    examples: Sequence[Continued]
    validation: Mapping[str, Sequence[Continued]] = field(default_factory=dict)


def train(model: Decoder, material: Material, run: Run, outside: Outside) -> State:
    """Fine-tunes `model` in place; returns the last state.

    Trained are the adapters where there are any, else all weights. Step s takes examples s*batch onward, wrapping.

    Raises:
        ModelError: memory does not suffice, or the loss became no number, or worse than guessing.
        Stopped: a signal asked for an end; what was done is saved.
    """
    graph, trained, frozen = nnx.split(model, _trained(model), ...)  # type: ignore[misc]
    rule = update_rule(run.rule, run.steps)
    curve = np.full((run.steps, len(CURVE)), np.nan, np.float32)
    validation = np.full((len(run.validated), len(material.validation)), np.nan, np.float32)
    fresh = State(trained, rule.init(trained), curve, validation)

    # What is planned and compiled to ask for its memory is not planned and compiled again to be run.
    @cache
    def step_of(remat: bool) -> Step:
        return compiled_step(graph, rule, run.dtype, remat)

    @cache
    def plan_of(accumulate: int) -> tuple[list[Parts], list[PackedShape]]:
        return _plan(material.examples, run, accumulate)

    def needs(other: Run) -> int:
        largest = max(plan_of(other.accumulate)[1], key=lambda shape: shape.rows)
        batches = memory.abstract_batches(largest, other.accumulate)
        return memory.bytes_beyond_arguments(step_of(other.remat), fresh.weights, fresh.optimizer, frozen, batches)

    memory.refuse_what_does_not_fit(run, needs, memory.free_bytes(outside.free_bytes))
    losses_of = validation_losses(graph, material.validation, run.max_tokens, run.dtype)
    parts, shapes = plan_of(run.accumulate)
    loop = _Loop(
        run=run,
        outside=outside,
        graph=graph,
        frozen=frozen,
        vocab=model.config.vocab,
        parts=parts,
        shapes=shapes,
        rate_of=learning_rate(run.rule, run.steps),
        step_of=step_of(run.remat),
        losses_of=losses_of,
    )
    start, state = checkpoints.restore_latest(outside.scratch, fresh)
    if start:
        outside.advance(start, f"resumed at step {start}")
    with stoppable() as stop:
        for step in range(start, run.steps):
            began = time.monotonic()
            state = loop.take(step, state)
            pace = _pace(state.curve[step], time.monotonic() - began)
            outside.log(pace)
            loop.save_if_due(step + 1, state, stop)
            note = f"loss {state.curve[step, LOSS]:.3f}, {pace[2]:,.0f} tokens/s, {pace[3] / memory.GIB:.1f} GiB"
            outside.advance(1, note)
    nnx.update(model, state.weights)
    return state


@dataclass
class _Loop:
    """What every step of a run is taken with."""

    run: Run
    outside: Outside
    graph: nnx.GraphDef[Decoder]
    frozen: nnx.State
    vocab: int
    parts: list[Parts]
    shapes: list[PackedShape]
    rate_of: optax.Schedule
    step_of: Step
    losses_of: Losses
    saved: float = field(default_factory=time.monotonic)

    def take(self, step: int, state: State) -> State:
        """The state after step `step` (from 0), its curves filled in."""
        batches = _packed(self.parts[step], self.shapes[step])
        weights, optimizer, result = self.step_of(state.weights, state.optimizer, self.frozen, batches)
        state = State(weights, optimizer, state.curve, state.validation)
        state.curve[step] = _curve_row(step, result, float(self.rate_of(step)), self.parts[step])
        refuse_no_number(step, result, self.run.rule)
        refuse_divergence(state.curve[: step + 1, LOSS], self.vocab, self.run.rule)
        if step + 1 in self.run.validated:
            state.validation[self.run.validated.index(step + 1)] = self.losses_of(weights, self.frozen)
        return state

    def save_if_due(self, done: int, state: State, stop: Stop) -> None:
        """Hands out and saves the state after `done` steps, every so many steps or seconds or where an end is asked."""
        if done == self.run.steps:
            return
        if done in self.run.keep_steps:
            self.outside.keep(done, nnx.merge(self.graph, state.weights, self.frozen))
        old = time.monotonic() - self.saved >= self.outside.checkpoint_seconds
        if done % self.run.checkpoint_every == 0 or old or stop.requested is not None:
            checkpoints.save(self.outside.scratch, done, state)
            self.saved = time.monotonic()
        stop.end_if_requested()


def _trained(model: Decoder) -> type[nnx.Variable]:
    return Adapter if nnx.to_flat_state(nnx.state(model, Adapter)) else nnx.Param


def _plan(examples: Sequence[Continued], run: Run, accumulate: int) -> tuple[list[Parts], list[PackedShape]]:
    """Each step's examples in `accumulate` parts of equal size, and the shape that they are packed into."""
    size = run.batch // accumulate
    parts = []
    for step in range(run.steps):
        taken = [examples[(step * run.batch + offset) % len(examples)] for offset in range(run.batch)]
        parts.append([taken[start : start + size] for start in range(0, run.batch, size)])
    return parts, packed_shapes(parts, run.max_tokens)


def _packed(parts: Parts, shape: PackedShape) -> Packed:
    return stacked([pack(part, shape) for part in parts])


def _curve_row(step: int, result: StepResult, rate: float, parts: Parts) -> tuple[float, ...]:
    loss = float(result.loss_sum) / float(result.target_count)
    used = sum(len(example.ids) for part in parts for example in part)
    return float(step + 1), loss, rate, float(result.gradient_norm), float(result.target_count), float(used)


def _pace(row: np.ndarray, seconds: float) -> tuple[float, ...]:
    tokens = float(row[CURVE.index("example_tokens")])
    return float(row[0]), seconds, tokens / seconds, float(memory.peak_bytes())
