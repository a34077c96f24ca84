"""Low-rank adapters: no effect at first, only they are trained, and merging removes them."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stages.lm.io.weights import tensors_of
from stages.lm.lora.adapters import LoraConfig, add_adapters, merge_adapters
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import Linear, LoraParam
from stages.lm.nn.sharding import device_mesh
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.loop import train
from stages.lm.training.optimizer import OptimizerConfig
from stages.lm.training.state import TrainConfig, TrainData, TrainHooks
from tests.helpers.families import FAMILIES
from tests.helpers.tiny_model import TinyModel

pytestmark = pytest.mark.usefixtures("lightly_compiled", "exact")

ALL = ("query", "key", "value", "out", "gate", "up", "down")
TOKENS = np.random.default_rng(1).integers(2, 200, (2, 16))


@partial(jax.jit, static_argnums=0)
def compiled(graph: nnx.GraphDef[Decoder], state: nnx.State) -> jax.Array:
    positions, ends = jnp.tile(jnp.arange(16), (2, 1)), jnp.full((2, 16), 16)
    return nnx.merge(graph, state)(jnp.asarray(TOKENS), positions, ends)


def hidden(decoder: Decoder) -> np.ndarray:
    return np.asarray(compiled(*nnx.split(decoder)))


def leaves(decoder: Decoder, kind: type[nnx.Variable]) -> dict[str, np.ndarray]:
    """Copies of the leaves by path, because training donates its buffers."""
    flat = nnx.to_flat_state(nnx.state(decoder, kind))
    return {"/".join(map(str, path)): np.array(leaf[...]) for path, leaf in flat}


def fill(decoder: Decoder, seed: int) -> None:
    """Sets every B to random values, as if it were trained."""
    keys = iter(jax.random.split(jax.random.key(seed), 7))
    for block in (decoder.layers.attention, decoder.layers.mlp):
        for name in ALL:
            linear = getattr(block, name, None)
            if linear is not None and linear.lora_b is not None:
                linear.lora_b[...] = 0.05 * jax.random.normal(next(keys), linear.lora_b.shape)


def test_a_new_adapter_changes_nothing(tiny: TinyModel) -> None:
    plain, adapted = tiny(seed=2).decoder, tiny(seed=2).decoder
    add_adapters(adapted, LoraConfig(ALL, rank=2, alpha=8.0), seed=0)
    np.testing.assert_allclose(hidden(adapted), hidden(plain), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_merging_keeps_the_outputs_and_removes_the_adapters(tiny: TinyModel, family: str) -> None:
    plain, adapted = (tiny(seed=2, **FAMILIES[family]).decoder for _ in range(2))
    add_adapters(adapted, LoraConfig(ALL, rank=2, alpha=8.0), seed=0)
    fill(adapted, seed=3)
    before = hidden(adapted)
    assert np.abs(before - hidden(plain)).max() > 0.1
    merge_adapters(adapted, ALL)
    np.testing.assert_allclose(hidden(adapted), before, atol=1e-5)
    assert leaves(adapted, LoraParam) == {}
    assert nnx.graphdef(adapted) == nnx.graphdef(plain)
    assert tensors_of(adapted).keys() == tensors_of(plain).keys()


def test_merging_adds_the_scaled_product(tiny: TinyModel) -> None:
    decoder = tiny(seed=2).decoder
    kernel = np.array(decoder.layers.attention.out.kernel[...])
    add_adapters(decoder, LoraConfig(("out",), rank=2, alpha=8.0), seed=0)
    fill(decoder, seed=3)
    adapters = leaves(decoder, LoraParam)
    a, b = (adapters[f"layers/attention/out/lora_{name}"] for name in "ab")
    assert (a.shape, b.shape) == ((3, 4, 8, 2), (3, 2, 24))
    merge_adapters(decoder, ["out"])
    expected = kernel + 4.0 * np.einsum("lnhr,lrd->lnhd", a, b)
    np.testing.assert_allclose(decoder.layers.attention.out.kernel[...], expected, atol=1e-6)


def test_only_the_targets_get_adapters(tiny: TinyModel) -> None:
    decoder = tiny().decoder
    add_adapters(decoder, LoraConfig(("query", "down"), rank=4, alpha=4.0), seed=0)
    shapes = {path: leaf.shape for path, leaf in leaves(decoder, LoraParam).items()}
    assert shapes == {
        "layers/attention/query/lora_a": (3, 24, 4),
        "layers/attention/query/lora_b": (3, 4, 4, 8),
        "layers/mlp/down/lora_a": (3, 40, 4),
        "layers/mlp/down/lora_b": (3, 4, 24),
    }


def test_adapters_depend_on_their_seed(tiny: TinyModel) -> None:
    adapters = []
    for seed in (1, 1, 2):
        decoder = tiny().decoder
        add_adapters(decoder, LoraConfig(("gate", "up"), rank=4, alpha=4.0), seed=seed)
        adapters.append(leaves(decoder, LoraParam))
    gate, up = "layers/mlp/gate/lora_a", "layers/mlp/up/lora_a"
    assert np.array_equal(adapters[0][gate], adapters[1][gate])
    assert not np.array_equal(adapters[0][gate], adapters[2][gate])
    assert not np.array_equal(adapters[0][gate], adapters[0][up]), "equal shapes have equal values"
    assert not np.array_equal(adapters[0][gate][0], adapters[0][gate][1]), "layers have equal values"


def test_training_changes_only_adapters(tiny: TinyModel, tmp_path: Path) -> None:
    decoder = tiny(seed=2).decoder
    add_adapters(decoder, LoraConfig(ALL, rank=2, alpha=8.0), seed=0)
    weights, adapters = leaves(decoder, nnx.Param), leaves(decoder, LoraParam)
    optimizer = OptimizerConfig("adamw", 1e-2, "constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0)
    config = TrainConfig(
        2, 1, 1, 2, eval_steps=0, keep_steps=(), optimizer=optimizer, dtype=jnp.dtype("float32"), remat=False
    )
    hooks = TrainHooks(tmp_path, 1e9, lambda amount, note: None, lambda: 2**40)
    train(decoder, TrainData([PromptCompletion((20, 21, 22, 23), 2)]), config, hooks, device_mesh())
    for path, values in leaves(decoder, nnx.Param).items():
        assert values.tobytes() == weights[path].tobytes(), path
    trained = leaves(decoder, LoraParam)
    assert trained.keys() == adapters.keys() and len(trained) == 14
    for path, values in trained.items():
        assert not np.array_equal(values, adapters[path]), path


def test_gradients_are_those_of_the_plain_formula(tiny: TinyModel) -> None:
    """A projection with several axes, computed as one flattened product, has the gradients of x W + s (x A) B."""
    random = np.random.default_rng(4)
    shapes = ((2, 5, 3, 4), (3, 4, 6), (3, 4, 2), (2, 6))
    arrays = [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]

    def adapted(x: jax.Array, kernel: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        linear = Linear((3, 4), (6,), bias=False, rngs=nnx.Rngs(0))
        linear.kernel[...] = kernel
        linear.lora_a, linear.lora_b, linear.lora_scale = LoraParam(a), LoraParam(b), 1.5
        return jnp.sum(jnp.sin(linear(x)))

    def plain(x: jax.Array, kernel: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        low = jnp.einsum("bthi,hir->btr", x, a)
        return jnp.sum(jnp.sin(jnp.einsum("bthi,hio->bto", x, kernel) + 1.5 * low @ b))

    for actual, expected in zip(
        *(jax.grad(loss, argnums=(0, 1, 2, 3))(*arrays) for loss in (adapted, plain)), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
