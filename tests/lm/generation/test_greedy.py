"""Greedy decoding: the tokens of step-by-step argmax over full forward passes, in any batch."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stages.lm.generation import greedy
from stages.lm.generation.greedy import STRIDE, Prompt, generate
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.sharding import device_mesh
from tests.helpers.families import FAMILIES
from tests.helpers.tiny_model import FLOAT32, TinyModel

pytestmark = pytest.mark.usefixtures("exact", "lightly_compiled")


LIMIT = 2 * STRIDE


def never(ids: Sequence[int]) -> bool:
    return False


def prompts_of(*lengths: int) -> list[Prompt]:
    random = np.random.default_rng(3)
    return [Prompt(tuple(random.integers(10, 200, length).tolist()), never) for length in lengths]


def generated(model: Decoder, prompts: Sequence[Prompt], limit: int = LIMIT) -> list[list[int]]:
    ids_by_prompt: dict[int, list[int]] = {}
    for batch in generate(model, prompts, limit, FLOAT32, device_mesh()):
        ids_by_prompt |= dict(zip(batch.prompts, batch.ids, strict=True))
    return [ids_by_prompt[index] for index in range(len(prompts))]


def argmax_of_full_forwards(model: Decoder, ids: Sequence[int], count: int) -> list[int]:
    """For each token the argmax over a full forward pass; in rows of one length, so that it compiles once."""
    length = len(ids) + count
    graph, state = nnx.split(model)

    @jax.jit
    def logits(tokens_BT: jax.Array) -> jax.Array:
        decoder = nnx.merge(graph, state)
        return decoder.logits(decoder(tokens_BT, jnp.arange(length)[None], jnp.full((1, length), length)))

    tokens = np.zeros((1, length), np.int32)
    tokens[0, : len(ids)] = ids
    for position in range(len(ids), length):
        tokens[0, position] = int(jnp.argmax(logits(jnp.asarray(tokens))[0, position - 1]))
    return tokens[0, len(ids) :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_those_of_full_forward_passes(tiny: TinyModel, family: str) -> None:
    """Prompts of three lengths in one batch, so that two are padded."""
    model = tiny(seed=8, **FAMILIES[family]).decoder
    prompts = prompts_of(3, 11, 20)
    continuations = generated(model, prompts)
    assert [len(ids) for ids in continuations] == [LIMIT] * 3
    assert continuations == [argmax_of_full_forwards(model, prompt.ids, LIMIT) for prompt in prompts]
    assert len({tuple(ids) for ids in continuations}) == 3


def test_order_and_batch_change_no_token(tiny: TinyModel) -> None:
    """Prompts of two padded lengths, and more of them than a batch holds."""
    model = tiny(seed=8).decoder
    prompts = prompts_of(*[5, 90, 17] * 20)
    continuations = generated(model, prompts)
    assert continuations[::-1] == generated(model, prompts[::-1])
    assert [generated(model, [prompt])[0] for prompt in prompts[:3]] == continuations[:3]


def test_generation_ends_after_the_stride_that_completes_all_answers(tiny: TinyModel) -> None:
    model = tiny(seed=8).decoder
    [first, second] = prompts_of(5, 9)
    [ids, _] = generated(model, [first, second])
    last = ids[2]

    def is_complete(ids: Sequence[int]) -> bool:
        return last in ids

    alone = generated(model, [Prompt(first.ids, is_complete)])
    assert alone == [ids[:STRIDE]]
    both = generated(model, [Prompt(first.ids, is_complete), second])
    assert [len(continuation) for continuation in both] == [LIMIT] * 2


def test_forward_in_pieces_with_a_cache_is_one_forward(tiny: TinyModel) -> None:
    """A prefix, then a tree of two branches after padding, through `forward_with_cache` and through a full forward."""
    model = tiny(seed=8, **FAMILIES["gemma3_text"]).decoder
    tokens = jnp.array([[20, 21, 22, 23, 24, 25, 26, 27]])
    positions = jnp.array([[0, 1, 2, 3, 0, 4, 5, 5]])
    ends = jnp.array([[8, 8, 8, 8, 5, 8, 7, 8]])
    expected = model(tokens, positions, ends)
    cache = model.init_cache(1, 8)
    pieces = []
    for begin, end in ((0, 4), (4, 8)):
        hidden, cache = model.forward_with_cache(tokens[:, begin:end], positions, ends, cache, jnp.int32(begin))
        pieces.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(pieces, axis=1), expected, rtol=1e-5, atol=1e-5)


def test_rows_fit_the_budget() -> None:
    assert [greedy._rows(length, 64) for length in (64, 960, 8192)] == [32, 4, 1]
