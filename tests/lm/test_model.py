"""The decoder: against an independent implementation, against a plain one in float64, and who sees whom."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from stages.lm.config import read_config
from stages.lm.loading import LanguageModel
from stages.lm.model import Decoder, attend, rotations, visible
from stages.lm.weights import load, parameters

pytestmark = pytest.mark.usefixtures("exact")

TinyModel = Callable[..., LanguageModel]
Laid = tuple[np.ndarray, np.ndarray, np.ndarray]
Logits = Callable[[np.ndarray, np.ndarray, np.ndarray], jax.Array]
Influence = Callable[[list[int], list[int]], list[set[int]]]

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied-bias": {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
    "llama3": {"rope_parameters": LLAMA3},
}
T = 24


def laid(rows: list[np.ndarray], length: int, left: bool = False) -> Laid:
    """Tokens, positions and ends of rows that padding (which sees itself alone) fills up on one side."""
    tokens, positions = np.zeros((2, len(rows), length), np.int32)
    ends = np.tile(np.arange(1, length + 1, dtype=np.int32), (len(rows), 1))
    for row, ids in enumerate(rows):
        place = slice(length - len(ids), length) if left else slice(0, len(ids))
        tokens[row, place], positions[row, place], ends[row, place] = ids, np.arange(len(ids)), place.stop
    return tokens, positions, ends


def compiled(model: Decoder, dtype: str = "float32") -> Logits:
    graph, state = nnx.split(model)

    @jax.jit
    def logits(state: nnx.State, tokens: jax.Array, positions: jax.Array, ends: jax.Array) -> jax.Array:
        whole = nnx.merge(graph, state)
        return whole.logits(whole(tokens, positions, ends, jnp.dtype(dtype)))

    return lambda tokens, positions, ends: logits(state, tokens, positions, ends)


def worst(found: jax.Array, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(np.asarray(found) - expected).max())


# ---- against an independent implementation


@pytest.mark.parametrize("family", ["llama-tied", "llama-untied-bias", "llama3-rope"])
def test_logits_of_an_independent_implementation(golden: Path, family: str) -> None:
    folder = golden / "tiny" / family
    logits = compiled(load(folder, read_config(folder / "config.json")))
    expected = np.load(folder / "expected.npz", allow_pickle=False)
    rows = [tokens[:length] for tokens, length in zip(expected["tokens"], expected["lengths"], strict=True)]
    whole = expected["tokens"].shape[1]
    right, left = logits(*laid(rows, whole)), logits(*laid(rows, whole, left=True))
    for row, ids in enumerate(rows):
        wanted = expected["logits"][row, : len(ids)]
        assert worst(right[row, : len(ids)], wanted) < 1e-4
        assert worst(left[row, whole - len(ids) :], wanted) < 1e-4
        assert worst(logits(*laid([ids], whole))[0, : len(ids)], wanted) < 1e-4


# ---- against the same arithmetic, written plainly in float64


def plain_logits(folder: Path, ids: np.ndarray) -> np.ndarray:
    """Logits [T, V] of the model folder's decoder, head by head and layer by layer."""
    raw: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = {key: value.astype(np.float64) for key, value in load_file(folder / "model.safetensors").items()}
    x = weights["model.embed_tokens.weight"][ids]
    for layer in range(raw["num_hidden_layers"]):
        block = {
            key.split(".", 3)[3]: value for key, value in weights.items() if key.startswith(f"model.layers.{layer}.")
        }
        x = x + plain_attention(raw, block, plain_norm(x, block["input_layernorm.weight"]))
        y = plain_norm(x, block["post_attention_layernorm.weight"])
        gate, up = plain_linear(block, "mlp.gate_proj", y), plain_linear(block, "mlp.up_proj", y)
        x = x + plain_linear(block, "mlp.down_proj", gate / (1.0 + np.exp(-gate)) * up)
    return (
        plain_norm(x, weights["model.norm.weight"])
        @ weights.get("lm_head.weight", weights["model.embed_tokens.weight"]).T
    )


def plain_norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5) * scale


def plain_linear(block: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ block[f"{name}.weight"].T + block.get(f"{name}.bias", 0.0)


def plain_attention(raw: dict[str, Any], block: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    heads, width = raw["num_attention_heads"], raw["head_dim"]
    shared = heads // raw["num_key_value_heads"]
    query, key, value = (plain_linear(block, f"self_attn.{name}_proj", x) for name in "qkv")
    mixed = np.empty_like(query)
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        common = slice(head // shared * width, (head // shared + 1) * width)
        turned = plain_turned(raw, query[:, own]), plain_turned(raw, key[:, common])
        scores = np.where(np.tri(len(x), dtype=bool), turned[0] @ turned[1].T / np.sqrt(width), -np.inf)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed[:, own] = weights / weights.sum(axis=1, keepdims=True) @ value[:, common]
    return plain_linear(block, "self_attn.o_proj", mixed)


def plain_turned(raw: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Turns each pair (i, i + H/2) of row t by the angle t * frequency[i]: a product of complex numbers."""
    pairs = x.shape[1] // 2
    frequencies = np.array([plain_frequency(raw["rope_parameters"], pair / pairs) for pair in range(pairs)])
    turned = (x[:, :pairs] + 1j * x[:, pairs:]) * np.exp(1j * np.outer(np.arange(len(x)), frequencies))
    return np.concatenate((turned.real, turned.imag), axis=1)


def plain_frequency(rope: dict[str, Any], exponent: float) -> float:
    frequency = rope["rope_theta"] ** -exponent
    if rope["rope_type"] == "default":
        return frequency
    window, low, high = (rope[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    wavelength = 2 * np.pi / frequency
    if wavelength < window / high:
        return frequency
    if wavelength > window / low:
        return frequency / rope["factor"]
    smooth = (window / wavelength - low) / (high - low)
    return (1 - smooth) * frequency / rope["factor"] + smooth * frequency


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_of_the_same_arithmetic_in_float64(tiny: TinyModel, tmp_path: Path, variant: str) -> None:
    model = tiny(seed=1, folder=tmp_path, **VARIANTS[variant])
    logits = compiled(model.decoder)
    random = np.random.default_rng(2)
    rows = [random.integers(0, model.config.vocab, length) for length in (T, 9, 1)]
    right, left = logits(*laid(rows, T)), logits(*laid(rows, T, left=True))
    for row, ids in enumerate(rows):
        wanted = plain_logits(tmp_path, ids)
        assert np.ptp(wanted) > 3.0
        assert worst(right[row, : len(ids)], wanted) < 1e-4
        assert worst(left[row, T - len(ids) :], wanted) < 1e-4


# ---- who sees whom


@pytest.mark.parametrize(
    ("ends", "seen"),
    [
        ([3, 3, 3], ["x..", "xx.", "xxx"]),  # one sequence
        ([2, 2, 3], ["x..", "xx.", "..x"]),  # one of two tokens, then padding
        ([1, 3, 3], ["x..", ".x.", ".xx"]),  # padding, then one of two
        ([4, 2, 4, 4], ["x...", "xx..", "x.x.", "x.xx"]),  # a trunk, a branch of one token, a branch of two
    ],
)
def test_visible_keys(ends: list[int], seen: list[str]) -> None:
    [mask] = np.asarray(visible(jnp.array([ends])))
    assert ["".join("x" if sees else "." for sees in row) for row in mask] == seen


@pytest.fixture(scope="module")
def model(tiny: TinyModel) -> Decoder:
    return tiny(seed=3).decoder


@pytest.fixture(scope="module")
def logits(model: Decoder) -> Logits:
    return compiled(model)


@pytest.fixture(scope="module")
def influence(model: Decoder) -> Influence:
    """For each query, the indices whose embeddings move its hidden state, for a sequence of eight."""
    graph, state = nnx.split(model)
    tokens = np.arange(10, 18)[None]

    @jax.jit
    @jax.jacobian
    def slopes(embedding: jax.Array, positions: jax.Array, ends: jax.Array) -> jax.Array:
        whole = nnx.merge(graph, state)
        whole.embedding = nnx.Param(jnp.asarray(state["embedding"][...]).at[tokens[0]].set(embedding))
        return whole(jnp.asarray(tokens), positions, ends)[0].sum(axis=-1)

    def of(ends: list[int], positions: list[int]) -> list[set[int]]:
        embedding = state["embedding"][...][tokens[0]]
        slopes_TSD = np.asarray(slopes(embedding, jnp.array([positions]), jnp.array([ends])))
        return [set(np.flatnonzero(np.abs(slopes_SD).max(axis=-1)).tolist()) for slopes_SD in slopes_TSD]

    return of


@pytest.mark.parametrize(
    ("ends", "positions", "seen"),
    [
        # Causal: each sees itself and what stands before.
        ([8] * 8, [*range(8)], [{*range(query + 1)} for query in range(8)]),
        # Three packed segments (of 3, 4 and 1) are each causal and see nothing of one another.
        (
            [3, 3, 3, 7, 7, 7, 7, 8],
            [0, 1, 2, 0, 1, 2, 3, 0],
            [{0}, {0, 1}, {0, 1, 2}, {3}, {3, 4}, {3, 4, 5}, {3, 4, 5, 6}, {7}],
        ),
        # A trunk of 3, a branch 3 that forks into 4 and 5, and a branch of 6 and 7.
        (
            [8, 8, 8, 6, 5, 6, 8, 8],
            [0, 1, 2, 3, 4, 4, 3, 4],
            [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 5}, {0, 1, 2, 6}, {0, 1, 2, 6, 7}],
        ),
    ],
)
def test_only_what_is_visible_moves_a_hidden_state(
    influence: Influence, ends: list[int], positions: list[int], seen: list[set[int]]
) -> None:
    assert influence(ends, positions) == seen


def test_a_later_token_changes_no_earlier_number(logits: Logits) -> None:
    ids = np.arange(20, 36)
    changed = ids.copy()
    changed[10] = 99
    one, other = logits(*laid([ids], 16)), logits(*laid([changed], 16))
    assert np.array_equal(one[0, :10], other[0, :10])
    assert not np.any(np.all(one[0, 10:] == other[0, 10:], axis=-1))


def test_a_row_of_a_batch_is_the_row_alone(logits: Logits) -> None:
    rows = list(np.random.default_rng(4).integers(0, 200, (3, 16)))
    together = logits(*laid(rows, 16))
    for row, ids in enumerate(rows):
        assert worst(logits(*laid([ids], 16))[0], np.asarray(together[row])) < 1e-5


def test_positions_count_by_their_distances(logits: Logits) -> None:
    tokens, positions, ends = laid([np.arange(20, 36)], 16)
    assert worst(logits(tokens, positions + 50, ends), np.asarray(logits(tokens, positions, ends))) < 1e-4
    assert worst(logits(tokens, positions * 2, ends), np.asarray(logits(tokens, positions, ends))) > 1e-2


# ---- arithmetic


def test_layers_scanned_are_layers_one_after_another(model: Decoder) -> None:
    tokens, positions, ends = (jnp.asarray(array) for array in laid([np.arange(20, 20 + T)], T))
    graph, stacked = nnx.split(model.layers)
    x = model.embedding[...][tokens]
    for layer in range(model.config.layers):
        alone = nnx.merge(graph, jax.tree.map(lambda leaf, at=layer: leaf[at], stacked))
        x = alone(x, rotations(positions, model.config), visible(ends))
    np.testing.assert_allclose(model(tokens, positions, ends), model.norm(x), rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near_and_its_logits_are_float32(model: Decoder, logits: Logits) -> None:
    arrays = laid([np.arange(20, 36)], 16)
    full, half = logits(*arrays), compiled(model, "bfloat16")(*arrays)
    assert (full.dtype, half.dtype) == (jnp.float32, jnp.float32)
    assert 1e-4 < worst(half, np.asarray(full)) < 0.2


@pytest.mark.parametrize(("tied", "count"), [(True, 266 * 24), (False, 2 * 266 * 24)])
def test_how_many_numbers_a_model_holds(tiny: TinyModel, tied: bool, count: int) -> None:
    attention = 2 * 24 * 32 + 2 * 24 * 16
    layer = attention + 3 * 24 * 40 + 2 * 24
    assert parameters(tiny(tie_word_embeddings=tied).decoder) == count + 3 * layer + 24


def test_attention_is_that_of_the_library() -> None:
    """Packed segments, the tree's branches and padding: every key has an end of its own."""
    random = np.random.default_rng(6)
    query, key, value = (jnp.asarray(random.normal(size=(2, 7, heads, 8)), jnp.float32) for heads in (6, 2, 2))
    mask = visible(jnp.array([[3, 3, 3, 7, 7, 6, 7], [7, 7, 7, 5, 5, 7, 7]]))
    expected = jax.nn.dot_product_attention(query, key, value, mask=mask[:, None])
    np.testing.assert_allclose(attend(query, key, value, mask), expected, atol=1e-5)
