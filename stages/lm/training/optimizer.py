"""The optimizer: AdamW or Adafactor, the learning-rate schedule, and gradient clipping."""

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


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The learning rate of update s (from 0): linear warm-up, then constant or a cosine decay to zero."""
    if config.schedule == "cosine":
        main: optax.Schedule = optax.cosine_decay_schedule(config.learning_rate, max(1, steps - config.warmup_steps))
    else:
        main = optax.constant_schedule(config.learning_rate)
    if config.warmup_steps == 0:
        return main
    warmup = optax.linear_schedule(
        config.learning_rate / config.warmup_steps, config.learning_rate, config.warmup_steps - 1
    )
    return optax.join_schedules([warmup, main], [config.warmup_steps])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW or Adafactor."""
    rate = learning_rate(config, steps)
    if config.optimizer == "adamw":
        # Runs here have tens to hundreds of steps: with the usual 0.999 the large gradients of the first steps would
        # keep the second moment large, and so the updates small, for the entire run.
        optimizer = optax.adamw(rate, b2=0.99, weight_decay=config.weight_decay)
    else:
        # Gradients are clipped by the global norm below; Adafactor's own scaling by parameter size stays on.
        optimizer = optax.adafactor(rate, weight_decay_rate=config.weight_decay or None, clipping_threshold=None)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optimizer)


def optimizer_shardings(mesh: Mesh, optimizer: optax.GradientTransformation, weights: nnx.State) -> Any:
    """The shardings of the optimizer's state: moments like their weights, everything smaller replicated."""
    replicated = NamedSharding(mesh, PartitionSpec())

    def like_weight(leaf: Any, weight: Any, sharding: NamedSharding) -> NamedSharding:
        return sharding if leaf.shape == weight.shape else replicated

    state = jax.eval_shape(optimizer.init, weights)
    return optax.tree.map_params(
        optimizer,
        like_weight,
        state,
        weights,
        state_shardings(mesh, weights),
        transform_non_params=lambda leaf: replicated,
    )
