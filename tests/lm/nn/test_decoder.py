"""The decoder, against an independent implementation and a plain one in float64; and which keys a query sees."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stages.lm.io.hf_config import read_config
from stages.lm.io.weights import load_decoder, parameters
from stages.lm.nn.attention import KVCache, attend, attention_inputs, attention_mask, layer_spec_indices
from stages.lm.nn.decoder import Decoder
from tests.helpers.families import FAMILIES, WINDOW
from tests.helpers.plain_decoder import plain_logits
from tests.helpers.tiny_model import TinyModel

pytestmark = pytest.mark.usefixtures("exact")

BatchArrays = tuple[np.ndarray, np.ndarray, np.ndarray]
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
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    **FAMILIES,
}
T = 24


def padded_batch(rows: list[np.ndarray], length: int, left: bool = False) -> BatchArrays:
    """Tokens, positions and ends of rows, padded on one side; a padding token attends only to itself."""
    tokens, positions = np.zeros((2, len(rows), length), np.int32)
    ends = np.tile(np.arange(1, length + 1, dtype=np.int32), (len(rows), 1))
    for row, ids in enumerate(rows):
        span = slice(length - len(ids), length) if left else slice(0, len(ids))
        tokens[row, span], positions[row, span], ends[row, span] = ids, np.arange(len(ids)), span.stop
    return tokens, positions, ends


def compiled(model: Decoder, dtype: str = "float32") -> Logits:
    graph, state = nnx.split(model)

    @jax.jit
    def logits(state: nnx.State, tokens: jax.Array, positions: jax.Array, ends: jax.Array) -> jax.Array:
        decoder = nnx.merge(graph, state)
        return decoder.logits(decoder(tokens, positions, ends, jnp.dtype(dtype)))

    return lambda tokens, positions, ends: logits(state, tokens, positions, ends)


def max_difference(actual: jax.Array, expected: np.ndarray) -> float:
    assert actual.shape == expected.shape
    return float(np.abs(np.asarray(actual) - expected).max())


# ---- against an independent implementation


GOLDEN = (
    "gemma2", "gemma3", "llama-tied", "llama-untied-bias", "llama3-rope", "mistral-window", "qwen2", "qwen3",
)  # fmt: skip


@pytest.mark.parametrize("family", GOLDEN)
def test_logits_of_an_independent_implementation(golden: Path, family: str) -> None:
    folder = golden / "tiny" / family
    logits = compiled(load_decoder(folder, read_config(folder / "config.json")))
    expected = np.load(folder / "expected.npz", allow_pickle=False)
    rows = [tokens[:length] for tokens, length in zip(expected["tokens"], expected["lengths"], strict=True)]
    length = expected["tokens"].shape[1]
    right, left = logits(*padded_batch(rows, length)), logits(*padded_batch(rows, length, left=True))
    for row, ids in enumerate(rows):
        row_logits = expected["logits"][row, : len(ids)]
        assert max_difference(right[row, : len(ids)], row_logits) < 1e-4
        assert max_difference(left[row, length - len(ids) :], row_logits) < 1e-4
        assert max_difference(logits(*padded_batch([ids], length))[0, : len(ids)], row_logits) < 1e-4


@pytest.mark.parametrize("family", GOLDEN)
def test_logits_after_a_cached_prefix(golden: Path, family: str) -> None:
    """The cached part is longer than the window, and later tokens have to look back into it."""
    folder = golden / "tiny" / family
    model = load_decoder(folder, read_config(folder / "config.json"))
    expected = np.load(folder / "expected.npz", allow_pickle=False)
    row = int(expected["lengths"].argmax())
    length = int(expected["lengths"][row])
    tokens, positions, ends = (jnp.asarray(array) for array in padded_batch([expected["tokens"][row, :length]], length))
    graph, state = nnx.split(model)

    @partial(jax.jit, static_argnums=(1, 2))
    def read(state: nnx.State, begin: int, end: int, cache: KVCache) -> tuple[jax.Array, KVCache]:
        decoder = nnx.merge(graph, state)
        hidden, cache = decoder.forward_with_cache(tokens[:, begin:end], positions, ends, cache, jnp.int32(begin))
        return decoder.logits(hidden)[0], cache

    first, cache = read(state, 0, 20, model.init_cache(1, length))
    second, _ = read(state, 20, length, cache)
    assert max_difference(jnp.concatenate((first, second)), expected["logits"][row, :length]) < 1e-4


# ---- against the same arithmetic, written plainly in float64


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_of_the_same_arithmetic_in_float64(tiny: TinyModel, tmp_path: Path, variant: str) -> None:
    model = tiny(seed=1, folder=tmp_path, **VARIANTS[variant])
    logits = compiled(model.decoder)
    random = np.random.default_rng(2)
    rows = [random.integers(0, model.config.vocab, length) for length in (T, 9, 1)]
    right, left = logits(*padded_batch(rows, T)), logits(*padded_batch(rows, T, left=True))
    for row, ids in enumerate(rows):
        row_logits = plain_logits(tmp_path, ids)
        assert np.ptp(row_logits) > 3.0
        assert max_difference(right[row, : len(ids)], row_logits) < 1e-4
        assert max_difference(left[row, T - len(ids) :], row_logits) < 1e-4


# ---- which keys a query sees


@pytest.mark.parametrize(
    ("ends", "seen"),
    [
        ([3, 3, 3], ["x..", "xx.", "xxx"]),  # one sequence
        ([2, 2, 3], ["x..", "xx.", "..x"]),  # one of two tokens, then padding
        ([1, 3, 3], ["x..", ".x.", ".xx"]),  # padding, then one of two
        ([4, 2, 4, 4], ["x...", "xx..", "x.x.", "x.xx"]),  # a common token, a branch of one token, a branch of two
    ],
)
def test_visible_keys(ends: list[int], seen: list[str]) -> None:
    assert mask_rows(ends, [0] * len(ends)) == seen


@pytest.mark.parametrize(
    ("ends", "positions", "seen"),
    [
        ([4] * 4, [0, 1, 2, 3], ["x...", "xx..", ".xx.", "..xx"]),  # one sequence
        ([2, 2, 4, 4], [0, 1, 0, 1], ["x...", "xx..", "..x.", "..xx"]),  # two packed ones
        # Two common tokens, a branch of one token, a branch of two: the second looks back past its sibling.
        ([5, 5, 3, 5, 5], [0, 1, 2, 2, 3], ["x....", "xx...", ".xx..", ".x.x.", "...xx"]),
    ],
)
def test_a_window_counts_positions(ends: list[int], positions: list[int], seen: list[str]) -> None:
    assert mask_rows(ends, positions, window=2) == seen


def mask_rows(ends: list[int], positions: list[int], window: int | None = None) -> list[str]:
    positions_1S = jnp.array([positions])
    [mask] = np.asarray(attention_mask(jnp.array([ends]), positions_1S, positions_1S, window))
    return ["".join("x" if sees else "." for sees in row) for row in mask]


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
        decoder = nnx.merge(graph, state)
        decoder.embedding = nnx.Param(jnp.asarray(state["embedding"][...]).at[tokens[0]].set(embedding))
        return decoder(jnp.asarray(tokens), positions, ends)[0].sum(axis=-1)

    def sources(ends: list[int], positions: list[int]) -> list[set[int]]:
        embedding = state["embedding"][...][tokens[0]]
        slopes_TSD = np.asarray(slopes(embedding, jnp.array([positions]), jnp.array([ends])))
        return [set(np.flatnonzero(np.abs(slopes_SD).max(axis=-1)).tolist()) for slopes_SD in slopes_TSD]

    return sources


@pytest.mark.parametrize(
    ("ends", "positions", "seen"),
    [
        # Causal: each token sees itself and the tokens before it.
        ([8] * 8, [*range(8)], [{*range(query + 1)} for query in range(8)]),
        # Three packed segments (of 3, 4 and 1 tokens): each is causal and does not see the others.
        (
            [3, 3, 3, 7, 7, 7, 7, 8],
            [0, 1, 2, 0, 1, 2, 3, 0],
            [{0}, {0, 1}, {0, 1, 2}, {3}, {3, 4}, {3, 4, 5}, {3, 4, 5, 6}, {7}],
        ),
        # Three common tokens, a branch 3 that forks into 4 and 5, and a branch of 6 and 7.
        (
            [8, 8, 8, 6, 5, 6, 8, 8],
            [0, 1, 2, 3, 4, 4, 3, 4],
            [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 5}, {0, 1, 2, 6}, {0, 1, 2, 6, 7}],
        ),
    ],
)
def test_only_visible_tokens_change_a_hidden_state(
    influence: Influence, ends: list[int], positions: list[int], seen: list[set[int]]
) -> None:
    assert influence(ends, positions) == seen


def test_a_later_token_changes_no_earlier_number(logits: Logits) -> None:
    ids = np.arange(20, 36)
    changed = ids.copy()
    changed[10] = 99
    before, after = logits(*padded_batch([ids], 16)), logits(*padded_batch([changed], 16))
    assert np.array_equal(before[0, :10], after[0, :10])
    assert not np.any(np.all(before[0, 10:] == after[0, 10:], axis=-1))


def test_a_row_has_the_same_logits_alone_and_in_a_batch(logits: Logits) -> None:
    rows = list(np.random.default_rng(4).integers(0, 200, (3, 16)))
    batch = logits(*padded_batch(rows, 16))
    for row, ids in enumerate(rows):
        assert max_difference(logits(*padded_batch([ids], 16))[0], np.asarray(batch[row])) < 1e-5


def test_only_differences_of_positions_count(logits: Logits) -> None:
    tokens, positions, ends = padded_batch([np.arange(20, 36)], 16)
    assert max_difference(logits(tokens, positions + 50, ends), np.asarray(logits(tokens, positions, ends))) < 1e-4
    assert max_difference(logits(tokens, positions * 2, ends), np.asarray(logits(tokens, positions, ends))) > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sequence_has_the_same_logits_packed_and_in_a_tree(tiny: TinyModel, family: str) -> None:
    """Sequences are longer than the window, which looks past a sibling branch but not into a packed neighbour."""
    logits = compiled(tiny(seed=3, **FAMILIES[family]).decoder)
    prefix, branch1, branch2, neighbour = (np.arange(start, start + 7) for start in (20, 40, 60, 80))
    tokens = np.concatenate((neighbour, prefix, branch1, branch2))[None]
    positions = np.concatenate((np.arange(7), np.arange(14), np.arange(7, 14)))[None]
    ends = np.repeat([7, 28, 21, 28], 7)[None]
    actual = logits(tokens, positions, ends)[0]
    assert WINDOW < 7
    assert max_difference(actual[:7], alone(logits, neighbour)) < 1e-4
    assert max_difference(actual[7:21], alone(logits, np.concatenate((prefix, branch1)))) < 1e-4
    assert max_difference(actual[21:], alone(logits, np.concatenate((prefix, branch2)))[7:]) < 1e-4


def alone(logits: Logits, ids: np.ndarray) -> np.ndarray:
    return np.asarray(logits(*padded_batch([ids], 28)))[0, : len(ids)]


@pytest.mark.parametrize("family", ["mistral", "gemma2"])
def test_a_window_changes_later_logits(tiny: TinyModel, family: str) -> None:
    wide = FAMILIES[family] | {"sliding_window": 100}
    rows = padded_batch([np.arange(20, 20 + T)], T)
    near, far = (compiled(tiny(seed=3, **changes).decoder)(*rows)[0] for changes in (FAMILIES[family], wide))
    assert max_difference(near[:WINDOW], np.asarray(far[:WINDOW])) < 1e-5
    assert max_difference(near[WINDOW:], np.asarray(far[WINDOW:])) > 1e-2


# ---- arithmetic


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_scanned_layers_equal_a_loop_over_layers(tiny: TinyModel, family: str) -> None:
    model = tiny(seed=3, **FAMILIES[family]).decoder
    tokens, positions, ends = (jnp.asarray(array) for array in padded_batch([np.arange(20, 20 + T)], T))
    graph, stacked = nnx.split(model.layers)
    x = model.embedding[...][tokens] * model.config.embedding_scale
    inputs_of = attention_inputs(positions, partial(attention_mask, ends, positions, positions), model.config)
    for layer, spec in enumerate(layer_spec_indices(model.config)):
        single = nnx.merge(graph, jax.tree.map(lambda leaf, at=layer: leaf[at], stacked))
        x, _ = single(x, inputs_of(spec), None, None, None)
    np.testing.assert_allclose(model(tokens, positions, ends), model.norm(x), rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near_and_its_logits_are_float32(model: Decoder, logits: Logits) -> None:
    arrays = padded_batch([np.arange(20, 36)], 16)
    full, half = logits(*arrays), compiled(model, "bfloat16")(*arrays)
    assert (full.dtype, half.dtype) == (jnp.float32, jnp.float32)
    assert 1e-4 < max_difference(half, np.asarray(full)) < 0.2


@pytest.mark.parametrize(("tied", "count"), [(True, 266 * 24), (False, 2 * 266 * 24)])
def test_the_number_of_parameters(tiny: TinyModel, tied: bool, count: int) -> None:
    attention = 2 * 24 * 32 + 2 * 24 * 16
    layer = attention + 3 * 24 * 40 + 2 * 24
    assert parameters(tiny(tie_word_embeddings=tied).decoder) == count + 3 * layer + 24


def test_attention_equals_that_of_jax() -> None:
    """With ends of packed segments, of branches of a tree and of padding."""
    random = np.random.default_rng(6)
    query, key, value = (jnp.asarray(random.normal(size=(2, 7, heads, 8)), jnp.float32) for heads in (6, 2, 2))
    ends = jnp.array([[3, 3, 3, 7, 7, 6, 7], [7, 7, 7, 5, 5, 7, 7]])
    mask = attention_mask(ends, jnp.zeros_like(ends), jnp.zeros_like(ends))
    expected = jax.nn.dot_product_attention(query, key, value, mask=mask[:, None], scale=0.3)
    np.testing.assert_allclose(attend(query, key, value, mask, scale=0.3), expected, atol=1e-5)
