"""What a fine-tuning is made of: its fixed facts, its material, its state, and what it is told and tells."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
# Of a step: seconds, tokens of its examples a second, and the most memory that was in use until then, in bytes.
PERF_LOG_COLUMNS = ("step", "seconds", "tokens_per_second", "peak_bytes")


@dataclass(frozen=True)
class TrainConfig:
    """The fixed facts of a run: `batch` examples a step, computed in `dtype`.

    A step's examples are taken in `accumulate` parts, one after another; `remat` recomputes each layer in the backward
    pass. `keep_steps` are the steps whose model is handed out besides the last. Every `validate_every` steps (0: never)
    and after the last the loss on the validation examples is taken.
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

    @property
    def evaluated_steps(self) -> list[int]:
        """The steps after which the validation loss is taken."""
        every = range(self.eval_steps, self.steps, self.eval_steps) if self.eval_steps else ()
        return [*every, self.steps] if self.eval_steps else []


@dataclass(frozen=True)
class TrainData:
    """The examples to train on, and by source those to validate on."""

    examples: Sequence[PromptCompletion]
    validation: Mapping[str, Sequence[PromptCompletion]] = field(default_factory=dict)


class TrainState(NamedTuple):
    """What training changes: the trained weights, the optimizer's state, and the curves so far.

    `curve` is [steps, columns], `validation` [validated steps, sources].
    """

    weights: nnx.State
    optimizer: Any
    curve: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class TrainHooks:
    """What training is told and tells.

    `scratch` receives resume checkpoints and is where a stopped run goes on from; its name must change with the
    examples, the model and the run, and all processes of a run share it. A checkpoint is also saved when the last is
    `checkpoint_seconds` old. `keep` gets each step of `keep_steps` with the model after it, adapters and all.
    `free_bytes` says what a CPU has left. `log` is told what differs from run to run: PACE, step by step.
    """

    scratch: Path
    checkpoint_seconds: float
    advance: Advance
    keep: Callable[[int, Decoder], None]
    free_bytes: Callable[[], int]
    log: Callable[[Sequence[float]], None] = lambda pace: None
