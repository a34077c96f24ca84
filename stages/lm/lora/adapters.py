"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): put on a model's projections, and merged into them."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import Adapter, Linear


def add_adapters(model: Decoder, targets: Sequence[str], rank: int, alpha: float, seed: int) -> None:
    """Puts an adapter of scale alpha / rank on each projection in `targets`; B is zero, so nothing changes yet."""
    keys = iter(jax.random.split(jax.random.key(seed), len(targets)))
    for linear in _projections(model, targets):
        layers = linear.kernel.shape[0]
        a_shape = (layers, *linear.inputs, rank)
        bound = 1.0 / jnp.sqrt(jnp.prod(jnp.array(linear.inputs)))
        linear.lora_a = Adapter(jax.random.uniform(next(keys), a_shape, minval=-bound, maxval=bound))
        linear.lora_b = Adapter(jnp.zeros((layers, rank, *linear.outputs)))
        linear.lora_scale = alpha / rank


def merge_adapters(model: Decoder, targets: Sequence[str]) -> None:
    """Adds each adapter's product to its projection and takes the adapter off."""
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
