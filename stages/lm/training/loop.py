"""Fine-tuning: a thin loop over steps, and what makes a stopped run go on where it was."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import jax
import numpy as np
import optax
from flax import nnx

from stages.core.errors import Interrupted
from stages.core.shared_types import GIB
from stages.lm.distributed import processes
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import Adapter
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP, shard_state
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training import checkpoints, memory
from stages.lm.training.divergence import raise_if_diverging, raise_if_not_finite
from stages.lm.training.optimizer import learning_rate, make_optimizer, optimizer_shardings
from stages.lm.training.packing import PackedShape, pack, packed_shapes, row_length
from stages.lm.training.signals import StopFlag, stoppable
from stages.lm.training.state import LOSS, TRAIN_LOG_COLUMNS, TrainConfig, TrainData, TrainHooks, TrainState
from stages.lm.training.step import Step, StepResult, compiled_step, stacked
from stages.lm.training.validation import Losses, validation_losses

Parts = list[list[PromptCompletion]]
TrainPlan = tuple[list[Parts], list[PackedShape]]


def train(model: Decoder, material: TrainData, run: TrainConfig, outside: TrainHooks, mesh: Mesh) -> TrainState:
    """Fine-tunes `model` in place on the devices of `mesh`; returns the last state.

    Trained are the adapters where there are any, else all weights. Step s takes examples s*batch onward, wrapping.
    Where the mesh is that of several processes, all of them call this with the same arguments.

    Raises:
        ModelError: memory does not suffice, or the loss became no number, or worse than guessing.
        Stopped: a signal asked for an end; what was done is saved.
    """
    graph, trained, frozen = nnx.split(model, _trained(model), ...)  # type: ignore[misc]
    with jax.set_mesh(mesh):
        frozen = shard_state(frozen, mesh)
        fresh = init_state(shard_state(trained, mesh), material, run, mesh)
        loop = build_trainer(Static(graph, frozen, mesh, model.config.vocab), fresh, material, run, outside)
        start, state = checkpoints.restore_latest(outside.scratch, fresh)
        if start:
            outside.advance(start, f"resumed at step {start}")
        with stoppable() as stop:
            for step in range(start, run.steps):
                began = time.monotonic()
                state = loop.step(step, state)
                pace = _pace(state.curve[step], time.monotonic() - began)
                outside.log(pace)
                loop.save_if_due(step + 1, state, stop)
                note = f"loss {state.curve[step, LOSS]:.3f}, {pace[2]:,.0f} tokens/s, {pace[3] / GIB:.1f} GiB"
                outside.advance(1, note)
    nnx.update(model, frozen, state.weights)
    return state


def _trained(model: Decoder) -> type[nnx.Variable]:
    return Adapter if nnx.to_flat_state(nnx.state(model, Adapter)) else nnx.Param


def init_state(weights: nnx.State, material: TrainData, run: TrainConfig, mesh: Mesh) -> TrainState:
    """The state before the first step; the optimizer's part is born where it lies."""
    rule = make_optimizer(run.optimizer, run.steps)
    optimizer = jax.jit(rule.init, out_shardings=optimizer_shardings(mesh, rule, weights))(weights)
    curve = np.full((run.steps, len(TRAIN_LOG_COLUMNS)), np.nan, np.float32)
    validation = np.full((len(run.evaluated_steps), len(material.validation)), np.nan, np.float32)
    return TrainState(weights, optimizer, curve, validation)


@dataclass(frozen=True)
class Static:
    """What no step changes: the model's structure, its frozen weights, where they lie, and how many tokens it knows."""

    graph: nnx.GraphDef[Decoder]
    frozen: nnx.State
    mesh: Mesh
    vocab: int


def build_trainer(
    fixed: Static, fresh: TrainState, material: TrainData, run: TrainConfig, outside: TrainHooks
) -> "Trainer":
    """Plans the run and compiles its largest step, once it is known to fit into memory."""

    rule = make_optimizer(run.optimizer, run.steps)

    # What is planned and compiled to ask for its memory is not planned and compiled again to be run.
    @cache
    def step_of(remat: bool) -> Step:
        return compiled_step(fixed.graph, rule, fresh.weights, fixed.mesh, run.dtype, remat)

    @cache
    def plan_of(accumulate: int) -> TrainPlan:
        return _plan(material.examples, run, accumulate, fixed.mesh.shape[FSDP])

    def needs(other: TrainConfig) -> int:
        largest = max(plan_of(other.gradient_accumulation_steps)[1], key=lambda shape: shape.rows)
        batches = memory.abstract_batches(largest, other.gradient_accumulation_steps, fixed.mesh)
        state = (fresh.weights, fresh.optimizer, fixed.frozen)
        return memory.bytes_beyond_arguments(step_of(other.remat), *state, batches)

    memory.check_memory(run, needs, int(processes.all_min(float(memory.free_bytes(outside.free_bytes)))))
    return Trainer(
        run=run,
        outside=outside,
        fixed=fixed,
        plan=plan_of(run.gradient_accumulation_steps),
        rate_of=learning_rate(run.optimizer, run.steps),
        step_of=step_of(run.remat),
        losses_of=validation_losses(fixed.graph, material.validation, fixed.mesh, run.dtype),
    )


@dataclass
class Trainer:
    """What every step of a run is taken with."""

    run: TrainConfig
    outside: TrainHooks
    fixed: Static
    plan: TrainPlan
    rate_of: optax.Schedule
    step_of: Step
    losses_of: Losses
    saved: float = field(default_factory=time.monotonic)

    def step(self, step: int, state: TrainState) -> TrainState:
        """The state after step `step` (from 0), its curves filled in."""
        parts, shape = self.plan[0][step], self.plan[1][step]
        batches = stacked([pack(part, shape) for part in parts], self.fixed.mesh)
        weights, optimizer, result = self.step_of(state.weights, state.optimizer, self.fixed.frozen, batches)
        state = TrainState(weights, optimizer, state.curve, state.validation)
        state.curve[step] = _curve_row(step, result, float(self.rate_of(step)), parts)
        raise_if_not_finite(step, result, self.run.optimizer)
        raise_if_diverging(state.curve[: step + 1, LOSS], self.fixed.vocab, self.run.optimizer)
        if step + 1 in self.run.evaluated_steps:
            state.validation[self.run.evaluated_steps.index(step + 1)] = self.losses_of(weights, self.fixed.frozen)
        return state

    def save_if_due(self, done: int, state: TrainState, stop: StopFlag) -> None:
        """Hands out and saves the state after `done` steps, every so many steps or seconds or where an end is asked."""
        if done == self.run.steps:
            return
        if done in self.run.keep_steps:
            # Variables of its own: whoever gets it may merge adapters into them, and training goes on.
            self.outside.keep(done, nnx.merge(self.fixed.graph, state.weights, self.fixed.frozen, copy=True))
        age = processes.all_max(time.monotonic() - self.saved)
        asked = processes.all_max(float(stop.requested or 0))
        if done % self.run.save_steps == 0 or age >= self.outside.checkpoint_seconds or asked:
            checkpoints.save(self.outside.scratch, done, state)
            self.saved = time.monotonic()
        if asked:
            raise Interrupted(signal.Signals(int(asked)))


def _plan(examples: Sequence[PromptCompletion], run: TrainConfig, accumulate: int, groups: int) -> TrainPlan:
    """Each step's examples in `accumulate` parts of equal size, and the shape that they are packed into."""
    size = run.batch_size // accumulate
    parts = []
    for step in range(run.steps):
        taken = [examples[(step * run.batch_size + offset) % len(examples)] for offset in range(run.batch_size)]
        parts.append([taken[start : start + size] for start in range(0, run.batch_size, size)])
    return parts, packed_shapes(parts, row_length(parts, groups), groups)


def _curve_row(step: int, result: StepResult, rate: float, parts: Parts) -> tuple[float, ...]:
    loss = float(result.loss_sum) / float(result.target_count)
    used = sum(len(example.ids) for part in parts for example in part)
    return float(step + 1), loss, rate, float(result.gradient_norm), float(result.target_count), float(used)


def _pace(row: np.ndarray, seconds: float) -> tuple[float, ...]:
    tokens = float(row[TRAIN_LOG_COLUMNS.index("example_tokens")])
    return float(row[0]), seconds, tokens / seconds, float(memory.peak_bytes())
