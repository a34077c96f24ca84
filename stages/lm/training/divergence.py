"""Ends a run early if its loss or gradient is not finite, or if its loss becomes worse than random guessing."""

import math

import numpy as np

from stages.core.errors import ModelError
from stages.lm.training.optimizer import OptimizerConfig
from stages.lm.training.step import StepResult

# Steps over which the loss is averaged, at the start and at the end.
AVERAGED_STEPS = 10


def raise_if_not_finite(step: int, result: StepResult, config: OptimizerConfig) -> None:
    """Checks a step's loss and gradient norm.

    Raises:
        ModelError: one of them is not finite.
    """
    for name, value in (("loss", result.loss_sum), ("gradient", result.gradient_norm)):
        if not np.isfinite(value):
            raise ModelError(f"the {name} at step {step + 1} is {float(value)}; {_advice(config)}")


def raise_if_diverging(losses: np.ndarray, vocab: int, config: OptimizerConfig) -> None:
    """Checks the losses [steps] so far.

    Raises:
        ModelError: they are now worse than at the start, and than guessing among `vocab` tokens.
    """
    if len(losses) < 2 * AVERAGED_STEPS:
        return
    first, last = losses[:AVERAGED_STEPS].mean(), losses[-AVERAGED_STEPS:].mean()
    if last > max(1.5 * first, math.log(vocab)):
        raise ModelError(
            f"the loss diverges: {last:.2f} over the steps up to {len(losses)}, {first:.2f} over the first, and "
            f"guessing at random would be {math.log(vocab):.2f}; {_advice(config)}"
        )


def _advice(config: OptimizerConfig) -> str:
    return (
        f"lower finetune.learning_rate (now {config.learning_rate}) or finetune.max_grad_norm, or raise "
        "finetune.warmup_steps"
    )
