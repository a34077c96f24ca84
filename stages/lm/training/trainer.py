"""The trainer: a run's plan and its compiled step, built after a check that its largest step fits into memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import jax
import numpy as np
import optax
from flax import nnx

from stages.lm.distributed import processes
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP
from stages.lm.training import memory
from stages.lm.training.divergence import raise_if_diverging, raise_if_not_finite
from stages.lm.training.optimizer import learning_rate, make_optimizer, optimizer_shardings
from stages.lm.training.packing import pack
from stages.lm.training.plan import Parts, TrainPlan, plan_steps
from stages.lm.training.state import LOSS, TRAIN_LOG_COLUMNS, TrainConfig, TrainData, TrainState
from stages.lm.training.step import Step, StepResult, compiled_step, stacked
from stages.lm.training.validation import Losses, validation_losses


@dataclass(frozen=True)
class Static:
    """What no step changes: the model's graph, its frozen weights, the mesh, and the size of the vocabulary."""

    graph: nnx.GraphDef[Decoder]
    frozen: nnx.State
    mesh: Mesh
    vocab: int


def init_state(weights: nnx.State, data: TrainData, config: TrainConfig, mesh: Mesh) -> TrainState:
    """The state before the first step; the optimizer's state is created with its sharding."""
    optimizer = make_optimizer(config.optimizer, config.steps)
    shardings = optimizer_shardings(mesh, optimizer, weights)
    train_log = np.full((config.steps, len(TRAIN_LOG_COLUMNS)), np.nan, np.float32)
    validation_log = np.full((len(config.evaluated_steps), len(data.validation)), np.nan, np.float32)
    return TrainState(weights, jax.jit(optimizer.init, out_shardings=shardings)(weights), train_log, validation_log)


@dataclass(frozen=True)
class Trainer:
    """A run's plan, its learning rates, its compiled step, and its validation losses."""

    config: TrainConfig
    static: Static
    plan: TrainPlan
    rate: optax.Schedule
    compiled: Step
    losses: Losses

    def step(self, step: int, state: TrainState) -> TrainState:
        """The state after step `step` (from 0), with the step's rows in its logs.

        Raises:
            ModelError: the loss or the gradient is not finite, or the run diverges.
        """
        parts = self.plan.parts[step]
        batches = stacked([pack(part, self.plan.shapes[step]) for part in parts], self.static.mesh)
        weights, optimizer, result = self.compiled(state.weights, state.optimizer, self.static.frozen, batches)
        raise_if_not_finite(step, result, self.config.optimizer)
        train_log = _with_row(state.train_log, step, _log_row(step, result, float(self.rate(step)), parts))
        raise_if_diverging(train_log[: step + 1, LOSS], self.static.vocab, self.config.optimizer)
        validation_log = state.validation_log
        if step + 1 in self.config.evaluated_steps:
            row = self.config.evaluated_steps.index(step + 1)
            validation_log = _with_row(validation_log, row, self.losses(weights, self.static.frozen))
        return TrainState(weights, optimizer, train_log, validation_log)

    def model(self, state: TrainState) -> Decoder:
        """The model with the weights of `state`, as a copy: the caller may merge adapters into it."""
        return nnx.merge(self.static.graph, state.weights, self.static.frozen, copy=True)


def build_trainer(
    static: Static, fresh: TrainState, data: TrainData, config: TrainConfig, host_free_bytes: Callable[[], int]
) -> Trainer:
    """Plans the run, and compiles its largest step to check that it fits into memory.

    Raises:
        ModelError: it does not fit.
    """
    optimizer = make_optimizer(config.optimizer, config.steps)

    # Cached: the plan and the program of the memory check are those that run.
    @cache
    def compiled(remat: bool) -> Step:
        return compiled_step(static.graph, optimizer, fresh.weights, static.mesh, config.dtype, remat)

    @cache
    def plan(accumulation_steps: int) -> TrainPlan:
        groups = static.mesh.shape[FSDP]
        return plan_steps(data.examples, config.steps, config.batch_size, accumulation_steps, groups)

    def needed_bytes(candidate: TrainConfig) -> int:
        largest = plan(candidate.gradient_accumulation_steps).largest
        batches = memory.abstract_batches(largest, candidate.gradient_accumulation_steps, static.mesh)
        state = (fresh.weights, fresh.optimizer, static.frozen)
        return memory.bytes_beyond_arguments(compiled(candidate.remat), *state, batches)

    memory.check_memory(config, needed_bytes, int(processes.all_min(float(memory.free_bytes(host_free_bytes)))))
    return Trainer(
        config=config,
        static=static,
        plan=plan(config.gradient_accumulation_steps),
        rate=learning_rate(config.optimizer, config.steps),
        compiled=compiled(config.remat),
        losses=validation_losses(static.graph, data.validation, static.mesh, config.dtype),
    )


def _with_row(log: np.ndarray, row: int, values: np.ndarray | tuple[float, ...]) -> np.ndarray:
    log = log.copy()
    log[row] = values
    return log


def _log_row(step: int, result: StepResult, rate: float, parts: Parts) -> tuple[float, ...]:
    loss = float(result.loss_sum) / float(result.target_count)
    tokens = sum(len(example.ids) for part in parts for example in part)
    return float(step + 1), loss, rate, float(result.gradient_norm), float(result.target_count), float(tokens)
