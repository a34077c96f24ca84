"""The parts of a fine-tuning run: config, data, train state, and hooks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from stages.core.shared_types import Advance
from stages.lm.nn.decoder import Decoder
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.optimizer import OptimizerConfig

TRAIN_LOG_COLUMNS = ("step", "loss", "learning_rate", "gradient_norm", "target_tokens", "example_tokens")
LOSS = TRAIN_LOG_COLUMNS.index("loss")
# Of a step: seconds, tokens of its examples per second, and the peak of memory in use so far, in bytes.
PERF_LOG_COLUMNS = ("step", "seconds", "tokens_per_second", "peak_bytes")


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run: `batch_size` examples a step, computed in `dtype`.

    A step splits its examples into `gradient_accumulation_steps` micro-batches; `remat` recomputes each layer in the
    backward pass. The model is exported after each of `keep_steps` and after the last step. The validation loss is
    computed every `eval_steps` steps (0: never) and after the last.
    """

    steps: int
    batch_size: int
    gradient_accumulation_steps: int
    save_steps: int
    eval_steps: int
    keep_steps: tuple[int, ...]
    optimizer: OptimizerConfig
    dtype: jnp.dtype
    remat: bool

    @classmethod
    def from_params(cls, params: object, dtype: jnp.dtype) -> "TrainConfig":
        """The config with the values of the params of the same names, computed in `dtype`."""
        derived = {"optimizer": OptimizerConfig.from_params(params), "dtype": dtype}
        copied = {field.name: getattr(params, field.name) for field in fields(cls) if field.name not in derived}
        return cls(**copied, **derived)  # type: ignore[arg-type]

    @property
    def evaluated_steps(self) -> list[int]:
        """The steps after which the validation loss is computed."""
        every = range(self.eval_steps, self.steps, self.eval_steps) if self.eval_steps else ()
        return [*every, self.steps] if self.eval_steps else []


@dataclass(frozen=True)
class TrainData:
    """The examples to train on, and the validation examples by source."""

    examples: Sequence[PromptCompletion]
    validation: Mapping[str, Sequence[PromptCompletion]] = field(default_factory=dict)


class TrainState(NamedTuple):
    """What a step changes: the trained weights, the optimizer's state, and the logs so far.

    `train_log` is [steps, TRAIN_LOG_COLUMNS], `validation_log` [evaluated steps, sources]; rows of later steps are NaN.
    """

    weights: nnx.State
    optimizer: Any
    train_log: np.ndarray
    validation_log: np.ndarray


@dataclass(frozen=True)
class TrainHooks:
    """A run's connections to its surroundings: folders, progress, callbacks.

    `scratch` is the folder of resume checkpoints, shared by all processes of a run; its name must change with the
    examples, the model and the config. A checkpoint is also saved when the last is `checkpoint_seconds` old. `keep` is
    called after each step of `keep_steps` with the step and the model, adapters included. `free_bytes` returns the
    host's free memory. `log` gets PERF_LOG_COLUMNS of each step, which differ from run to run.
    """

    scratch: Path
    checkpoint_seconds: float
    advance: Advance
    free_bytes: Callable[[], int]
    keep: Callable[[int, Decoder], None] = lambda step, model: None
    log: Callable[[Sequence[float]], None] = lambda row: None
