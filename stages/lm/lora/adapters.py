"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): adds them to a model's projections, and merges them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import Linear, LoraParam


@dataclass(frozen=True)
class LoraConfig:
    """The projections that get adapters, their rank, and alpha: an adapter's product is scaled by alpha / rank."""

    targets: tuple[str, ...]
    rank: int
    alpha: float


def add_adapters(model: Decoder, config: LoraConfig, seed: int) -> None:
    """Adds an adapter to each target projection; B is zero, so the model's outputs do not change."""
    keys = iter(jax.random.split(jax.random.key(seed), len(config.targets)))
    for linear in _projections(model, config.targets):
        layers = linear.kernel.shape[0]
        a_shape = (layers, *linear.inputs, config.rank)
        bound = 1.0 / jnp.sqrt(jnp.prod(jnp.array(linear.inputs)))
        linear.lora_a = LoraParam(jax.random.uniform(next(keys), a_shape, minval=-bound, maxval=bound))
        linear.lora_b = LoraParam(jnp.zeros((layers, config.rank, *linear.outputs)))
        linear.lora_scale = config.alpha / config.rank


def merge_adapters(model: Decoder, targets: Sequence[str]) -> None:
    """Adds each adapter's product to its projection and removes the adapter."""
    for linear in _projections(model, targets):
        assert linear.lora_a is not None and linear.lora_b is not None
        product = jax.vmap(lambda a, b: jnp.tensordot(a, b, axes=1))(linear.lora_a[...], linear.lora_b[...])
        linear.kernel[...] += linear.lora_scale * product
        linear.lora_a = linear.lora_b = None
        linear.lora_scale = 0.0


def _projections(model: Decoder, targets: Sequence[str]) -> Iterator[Linear]:
    for target in targets:
        block = model.layers.attention if hasattr(model.layers.attention, target) else model.layers.mlp
        yield getattr(block, target)
