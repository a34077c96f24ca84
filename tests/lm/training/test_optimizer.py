"""The optimizer: learning rates at literal steps, and AdamW against the same arithmetic by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stages.lm.training.optimizer import OptimizerConfig, learning_rate, make_optimizer

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SETTINGS: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 0.1,
    "schedule": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}


@pytest.mark.parametrize(
    ("schedule", "warmup", "steps", "rates"),
    [
        ("constant", 0, 4, [0.1, 0.1, 0.1, 0.1]),
        # The first update is not lost to a rate of zero, and the last of the warm-up has the full rate.
        ("constant", 4, 6, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]),
        ("constant", 1, 3, [0.1, 0.1, 0.1]),
        ("cosine", 0, 4, [0.1, 0.05 + 0.05 * 0.5**0.5, 0.05, 0.05 - 0.05 * 0.5**0.5, 0.0]),
        ("cosine", 2, 6, [0.05, 0.1, 0.1, 0.05 + 0.05 * 0.5**0.5, 0.05, 0.05 - 0.05 * 0.5**0.5, 0.0]),
        # A warm-up as long as the run, and longer.
        ("cosine", 3, 3, [0.1 / 3, 0.2 / 3, 0.1]),
        ("constant", 10, 3, [0.01, 0.02, 0.03]),
    ],
)
def test_rates(schedule: str, warmup: int, steps: int, rates: list[float]) -> None:
    rate = learning_rate(OptimizerConfig(**(SETTINGS | {"schedule": schedule, "warmup_steps": warmup})), steps)
    np.testing.assert_allclose([float(rate(step)) for step in range(len(rates))], rates, atol=1e-8)


def updated(config: OptimizerConfig, start: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """The weights after one update per gradient."""
    optimizer = make_optimizer(config, len(gradients))
    weights = jnp.asarray(start, jnp.float32)
    state = optimizer.init(weights)
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state, weights)
        weights = optax.apply_updates(weights, updates)
    return np.asarray(weights)


def adamw_by_hand(
    start: np.ndarray, gradients: list[np.ndarray], rates: list[float], decay: float, clip: float
) -> np.ndarray:
    """Loshchilov & Hutter 2019, algorithm 2, in float64, with the usual moments' decay of 0.9 and 0.99."""
    weights, first, second = start.astype(np.float64), np.zeros(start.shape), np.zeros(start.shape)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        clipped = gradient * min(1.0, clip / np.sqrt(np.sum(gradient**2)))
        first = 0.9 * first + 0.1 * clipped
        second = 0.99 * second + 0.01 * clipped**2
        direction = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
        weights = weights - rate * (direction + decay * weights)
    return weights


@pytest.mark.parametrize(("decay", "clip"), [(0.0, 1e9), (0.1, 1e9), (0.1, 2.0)])
def test_adamw_is_adamw(decay: float, clip: float) -> None:
    random = np.random.default_rng(1)
    start = random.normal(size=(3, 4))
    gradients = list(random.normal(size=(5, 3, 4)) * np.array([0.1, 1.0, 3.0, 0.01, 10.0])[:, None, None])
    config = OptimizerConfig(**(SETTINGS | {"warmup_steps": 2, "weight_decay": decay, "max_grad_norm": clip}))
    expected = adamw_by_hand(start, gradients, [0.05, 0.1, 0.1, 0.1, 0.1], decay, clip)
    # In float32 the correction 1 - 0.99**t has a relative error of 6e-6, which the root halves: 3e-7 of each update.
    np.testing.assert_allclose(updated(config, start, gradients), expected, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_of_a_gradient_beyond_the_clip_norm_only_the_direction_counts(optimizer: str) -> None:
    config = OptimizerConfig(**(SETTINGS | {"optimizer": optimizer}))
    gradients = list(np.random.default_rng(2).normal(size=(3, 4, 4)))
    start = np.ones((4, 4))
    long = updated(config, start, [100.0 * gradient for gradient in gradients])
    np.testing.assert_allclose(long, updated(config, start, [7.0 * gradient for gradient in gradients]), atol=1e-6)
    assert np.abs(long - start).min() > 1e-3


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_weights_decay_without_a_gradient(optimizer: str) -> None:
    config = OptimizerConfig(**(SETTINGS | {"optimizer": optimizer, "weight_decay": 0.5}))
    decayed = updated(config, np.full((4, 4), 2.0), [np.zeros((4, 4))])
    assert np.all(decayed < 2.0) and np.all(decayed >= 0.9)
    unchanged = updated(
        OptimizerConfig(**(SETTINGS | {"optimizer": optimizer})), np.full((4, 4), 2.0), [np.zeros((4, 4))]
    )
    assert np.array_equal(unchanged, np.full((4, 4), 2.0))


def test_the_state_of_adafactor_is_factored_and_that_of_adamw_is_two_copies() -> None:
    weights = jnp.zeros((256, 512))
    sizes = {
        name: sum(
            leaf.size
            for leaf in jax.tree.leaves(
                make_optimizer(OptimizerConfig(**(SETTINGS | {"optimizer": name})), 1).init(weights)
            )
        )
        for name in ("adamw", "adafactor")
    }
    assert sizes["adamw"] >= 2 * weights.size
    assert sizes["adafactor"] < 1000
