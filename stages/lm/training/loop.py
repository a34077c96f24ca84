"""The training loop: runs the steps, and saves checkpoints from which a stopped run resumes."""

import signal
import time
from dataclasses import dataclass, field

import jax
from flax import nnx

from stages.core.errors import Interrupted
from stages.core.shared_types import GIB
from stages.lm.distributed import processes
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import LoraParam
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import shard_state
from stages.lm.training import checkpoints, memory
from stages.lm.training.signals import StopFlag, stoppable
from stages.lm.training.state import LOSS, TRAIN_LOG_COLUMNS, TrainConfig, TrainData, TrainHooks, TrainState
from stages.lm.training.trainer import Static, build_trainer, init_state


def train(model: Decoder, data: TrainData, config: TrainConfig, hooks: TrainHooks, mesh: Mesh) -> TrainState:
    """Fine-tunes `model` in place on the devices of `mesh`; returns the last state.

    It trains the adapters if there are any, otherwise all weights. With a mesh of several processes, all of them call
    this with the same arguments.

    Raises:
        ModelError: a step does not fit into memory, or the loss is not finite, or the run diverges.
        Interrupted: a signal requested the end; a checkpoint is saved.
    """
    graph, trained, frozen = nnx.split(model, trained_kind(model), ...)  # type: ignore[misc]
    with jax.set_mesh(mesh):
        static = Static(graph, shard_state(frozen, mesh), mesh, model.config.vocab)
        fresh = init_state(shard_state(trained, mesh), data, config, mesh)
        trainer = build_trainer(static, fresh, data, config, hooks.free_bytes)
        start, state = checkpoints.restore_latest(hooks.scratch, fresh)
        if start:
            hooks.advance(start, f"resumed at step {start}")
        saver = _Saver(config, hooks)
        with stoppable() as stop:
            for step in range(start, config.steps):
                started = time.monotonic()
                state = trainer.step(step, state)
                note = _log_perf(state, step, time.monotonic() - started, hooks)
                if step + 1 in config.keep_steps and step + 1 < config.steps:
                    hooks.keep(step + 1, trainer.model(state))
                saver.save_if_due(step + 1, state, stop)
                hooks.advance(1, note)
    nnx.update(model, static.frozen, state.weights)
    return state


def trained_kind(model: Decoder) -> type[nnx.Variable]:
    """The type of the variables that training changes."""
    return LoraParam if nnx.to_flat_state(nnx.state(model, LoraParam)) else nnx.Param


def _log_perf(state: TrainState, step: int, seconds: float, hooks: TrainHooks) -> str:
    """Logs the step's speed and memory; returns a note with them and the loss, for the progress line."""
    tokens_per_second = float(state.train_log[step, TRAIN_LOG_COLUMNS.index("example_tokens")]) / seconds
    peak = float(memory.peak_bytes())
    hooks.log((float(step + 1), seconds, tokens_per_second, peak))
    return f"loss {state.train_log[step, LOSS]:.3f}, {tokens_per_second:,.0f} tokens/s, {peak / GIB:.1f} GiB"


@dataclass
class _Saver:
    """Saves resume checkpoints: every `save_steps` steps, every `checkpoint_seconds`, and before a requested end."""

    config: TrainConfig
    hooks: TrainHooks
    saved_at: float = field(default_factory=time.monotonic)

    def save_if_due(self, done: int, state: TrainState, stop: StopFlag) -> None:
        """Saves the state after `done` steps if a checkpoint is due; the last step needs none.

        Raises:
            Interrupted: a signal requested the end, in this process or another one.
        """
        if done == self.config.steps:
            return
        age = processes.all_max(time.monotonic() - self.saved_at)
        signal_number = int(processes.all_max(float(stop.requested or 0)))
        if done % self.config.save_steps == 0 or age >= self.hooks.checkpoint_seconds or signal_number:
            checkpoints.save(self.hooks.scratch, done, state)
            self.saved_at = time.monotonic()
        if signal_number:
            raise Interrupted(signal.Signals(signal_number))
