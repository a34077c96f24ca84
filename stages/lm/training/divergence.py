"""What ends a run early: a loss or gradient that is no number, or a loss that grows beyond guessing."""

import math

import numpy as np

from stages.core.errors import ModelError
from stages.lm.training.optimizer import OptimizerConfig
from stages.lm.training.step import StepResult

# Steps over which a loss is averaged before a run is said to diverge.
SMOOTHED = 10


def raise_if_not_finite(step: int, result: StepResult, rule: OptimizerConfig) -> None:
    """Refuses a loss or a gradient that is no number."""
    for what, value in (("loss", result.loss_sum), ("gradient", result.gradient_norm)):
        if not np.isfinite(value):
            raise ModelError(f"the {what} at step {step + 1} is {float(value)}; {_way_out(rule)}")


def raise_if_diverging(losses: np.ndarray, vocab: int, rule: OptimizerConfig) -> None:
    """Refuses losses [steps] that have come to be worse than at the start and than guessing among `vocab` tokens."""
    if len(losses) < 2 * SMOOTHED:
        return
    first, last = losses[:SMOOTHED].mean(), losses[-SMOOTHED:].mean()
    if last > max(1.5 * first, math.log(vocab)):
        raise ModelError(
            f"the loss diverges: {last:.2f} over the steps up to {len(losses)}, {first:.2f} over the first, and "
            f"guessing at random would be {math.log(vocab):.2f}; {_way_out(rule)}"
        )


def _way_out(rule: OptimizerConfig) -> str:
    return (
        f"lower finetune.learning_rate (now {rule.learning_rate}) or finetune.max_grad_norm, or give more "
        "finetune.warmup_steps"
    )
