"""The decoder: against an independent implementation, against a plain one in float64, and who sees whom."""

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
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    **FAMILIES,
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


GOLDEN = (
    "gemma2", "gemma3", "llama-tied", "llama-untied-bias", "llama3-rope", "mistral-window", "qwen2", "qwen3",
)  # fmt: skip


@pytest.mark.parametrize("family", GOLDEN)
def test_logits_of_an_independent_implementation(golden: Path, family: str) -> None:
    folder = golden / "tiny" / family
    logits = compiled(load_decoder(folder, read_config(folder / "config.json")))
    expected = np.load(folder / "expected.npz", allow_pickle=False)
    rows = [tokens[:length] for tokens, length in zip(expected["tokens"], expected["lengths"], strict=True)]
    whole = expected["tokens"].shape[1]
    right, left = logits(*laid(rows, whole)), logits(*laid(rows, whole, left=True))
    for row, ids in enumerate(rows):
        wanted = expected["logits"][row, : len(ids)]
        assert worst(right[row, : len(ids)], wanted) < 1e-4
        assert worst(left[row, whole - len(ids) :], wanted) < 1e-4
        assert worst(logits(*laid([ids], whole))[0, : len(ids)], wanted) < 1e-4


@pytest.mark.parametrize("family", GOLDEN)
def test_logits_behind_a_prefix_that_was_read_before(golden: Path, family: str) -> None:
    """Longer than a window, which what is read after it has to look back into."""
    folder = golden / "tiny" / family
    model = load_decoder(folder, read_config(folder / "config.json"))
    expected = np.load(folder / "expected.npz", allow_pickle=False)
    row = int(expected["lengths"].argmax())
    length = int(expected["lengths"][row])
    tokens, positions, ends = (jnp.asarray(array) for array in laid([expected["tokens"][row, :length]], length))
    graph, state = nnx.split(model)

    @partial(jax.jit, static_argnums=(1, 2))
    def read(state: nnx.State, begin: int, end: int, past: KVCache) -> tuple[jax.Array, KVCache]:
        whole = nnx.merge(graph, state)
        hidden, past = whole.forward_with_cache(tokens[:, begin:end], positions, ends, past, jnp.int32(begin))
        return whole.logits(hidden)[0], past

    before, past = read(state, 0, 20, model.init_cache(1, length))
    behind, _ = read(state, 20, length, past)
    assert worst(jnp.concatenate((before, behind)), expected["logits"][row, :length]) < 1e-4


# ---- against the same arithmetic, written plainly in float64


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
    assert shown(ends, [0] * len(ends)) == seen


@pytest.mark.parametrize(
    ("ends", "positions", "seen"),
    [
        ([4] * 4, [0, 1, 2, 3], ["x...", "xx..", ".xx.", "..xx"]),  # one sequence
        ([2, 2, 4, 4], [0, 1, 0, 1], ["x...", "xx..", "..x.", "..xx"]),  # two packed ones
        # A trunk of two, a branch of one token, a branch of two: it looks back along the trunk, past its sibling.
        ([5, 5, 3, 5, 5], [0, 1, 2, 2, 3], ["x....", "xx...", ".xx..", ".x.x.", "...xx"]),
    ],
)
def test_a_window_counts_positions(ends: list[int], positions: list[int], seen: list[str]) -> None:
    assert shown(ends, positions, window=2) == seen


def shown(ends: list[int], positions: list[int], window: int | None = None) -> list[str]:
    places = jnp.array([positions])
    [mask] = np.asarray(attention_mask(jnp.array([ends]), places, places, window))
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


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_and_in_a_tree_a_sequence_is_itself_alone(tiny: TinyModel, family: str) -> None:
    """Longer than the window, which has to look past a sibling, and must not look into a neighbour."""
    logits = compiled(tiny(seed=3, **FAMILIES[family]).decoder)
    trunk, one, other, neighbour = (np.arange(start, start + 7) for start in (20, 40, 60, 80))
    tokens = np.concatenate((neighbour, trunk, one, other))[None]
    positions = np.concatenate((np.arange(7), np.arange(14), np.arange(7, 14)))[None]
    ends = np.repeat([7, 28, 21, 28], 7)[None]
    found = logits(tokens, positions, ends)[0]
    assert WINDOW < 7
    assert worst(found[:7], alone(logits, neighbour)) < 1e-4
    assert worst(found[7:21], alone(logits, np.concatenate((trunk, one)))) < 1e-4
    assert worst(found[21:], alone(logits, np.concatenate((trunk, other)))[7:]) < 1e-4


def alone(logits: Logits, ids: np.ndarray) -> np.ndarray:
    return np.asarray(logits(*laid([ids], 28)))[0, : len(ids)]


@pytest.mark.parametrize("family", ["mistral", "gemma2"])
def test_a_window_is_felt(tiny: TinyModel, family: str) -> None:
    wide = FAMILIES[family] | {"sliding_window": 100}
    rows = laid([np.arange(20, 20 + T)], T)
    near, far = (compiled(tiny(seed=3, **changes).decoder)(*rows)[0] for changes in (FAMILIES[family], wide))
    assert worst(near[:WINDOW], np.asarray(far[:WINDOW])) < 1e-5
    assert worst(near[WINDOW:], np.asarray(far[WINDOW:])) > 1e-2


# ---- arithmetic


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_layers_scanned_are_layers_one_after_another(tiny: TinyModel, family: str) -> None:
    model = tiny(seed=3, **FAMILIES[family]).decoder
    tokens, positions, ends = (jnp.asarray(array) for array in laid([np.arange(20, 20 + T)], T))
    graph, stacked = nnx.split(model.layers)
    x = model.embedding[...][tokens] * model.config.embedding_scale
    inputs_of = attention_inputs(positions, partial(attention_mask, ends, positions, positions), model.config)
    for layer, kind in enumerate(layer_spec_indices(model.config)):
        alone = nnx.merge(graph, jax.tree.map(lambda leaf, at=layer: leaf[at], stacked))
        x, _ = alone(x, inputs_of(kind), None, None, None)
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
    ends = jnp.array([[3, 3, 3, 7, 7, 6, 7], [7, 7, 7, 5, 5, 7, 7]])
    mask = attention_mask(ends, jnp.zeros_like(ends), jnp.zeros_like(ends))
    expected = jax.nn.dot_product_attention(query, key, value, mask=mask[:, None], scale=0.3)
    np.testing.assert_allclose(attend(query, key, value, mask, scale=0.3), expected, atol=1e-5)
