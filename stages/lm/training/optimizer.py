"""The update rule of a run: optimizer, rate and clipping."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import jax
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import state_shardings


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become updates; the fields are params of the section `finetune` of params.yaml."""

    optimizer: Literal["adamw", "adafactor"]
    learning_rate: float
    schedule: Literal["constant", "cosine"]
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float

    @classmethod
    def from_params(cls, params: object) -> "OptimizerConfig":
        """The config with the values of the params of the same names."""
        return cls(**{field.name: getattr(params, field.name) for field in fields(cls)})


def learning_rate(rule: OptimizerConfig, steps: int) -> optax.Schedule:
    """The rate of update s (from 0): a linear warm-up to the full rate, then constant or a cosine down to zero."""
    if rule.schedule == "cosine":
        after: optax.Schedule = optax.cosine_decay_schedule(rule.learning_rate, max(1, steps - rule.warmup_steps))
    else:
        after = optax.constant_schedule(rule.learning_rate)
    if rule.warmup_steps == 0:
        return after
    warmup = optax.linear_schedule(rule.learning_rate / rule.warmup_steps, rule.learning_rate, rule.warmup_steps - 1)
    return optax.join_schedules([warmup, after], [rule.warmup_steps])


def make_optimizer(rule: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW or Adafactor."""
    rate = learning_rate(rule, steps)
    if rule.optimizer == "adamw":
        # Runs here are tens to hundreds of steps long: a second moment over a thousand (0.999) would hold the rate down
        # by the large gradients of the beginning.
        step = optax.adamw(rate, b2=0.99, weight_decay=rule.weight_decay)
    else:
        # Updates are clipped by the global norm above; Adafactor's own rate scaling by parameter size stays on.
        step = optax.adafactor(rate, weight_decay_rate=rule.weight_decay or None, clipping_threshold=None)
    return optax.chain(optax.clip_by_global_norm(rule.max_grad_norm), step)


def optimizer_shardings(mesh: Mesh, rule: optax.GradientTransformation, weights: nnx.State) -> Any:
    """The shardings of the optimizer's state: moments lie as their weights do, what is smaller is everywhere whole."""
    whole = NamedSharding(mesh, PartitionSpec())

    def of(leaf: Any, weight: Any, sharding: NamedSharding) -> NamedSharding:
        return sharding if leaf.shape == weight.shape else whole

    state = jax.eval_shape(rule.init, weights)
    return optax.tree.map_params(
        rule, of, state, weights, state_shardings(mesh, weights), transform_non_params=lambda leaf: whole
    )
