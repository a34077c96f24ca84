"""Greedy decoding: the tokens of step-by-step argmax over full forwards, in any company."""

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


def written(model: Decoder, prompts: Sequence[Prompt], limit: int = LIMIT) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for batch in generate(model, prompts, limit, FLOAT32, device_mesh()):
        found |= dict(zip(batch.prompts, batch.ids, strict=True))
    return [found[index] for index in range(len(prompts))]


def one_by_one(model: Decoder, ids: Sequence[int], count: int) -> list[int]:
    """Argmax over the logits of a whole forward, for each token anew; in rows of one length, so as to compile once."""
    length = len(ids) + count
    graph, state = nnx.split(model)

    @jax.jit
    def logits(tokens_BT: jax.Array) -> jax.Array:
        whole = nnx.merge(graph, state)
        return whole.logits(whole(tokens_BT, jnp.arange(length)[None], jnp.full((1, length), length)))

    tokens = np.zeros((1, length), np.int32)
    tokens[0, : len(ids)] = ids
    for place in range(len(ids), length):
        tokens[0, place] = int(jnp.argmax(logits(jnp.asarray(tokens))[0, place - 1]))
    return tokens[0, len(ids) :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_those_of_whole_forwards(tiny: TinyModel, family: str) -> None:
    """Of three lengths in one batch, so that two are filled up."""
    model = tiny(seed=8, **FAMILIES[family]).decoder
    prompts = prompts_of(3, 11, 20)
    found = written(model, prompts)
    assert [len(ids) for ids in found] == [LIMIT] * 3
    assert found == [one_by_one(model, prompt.ids, LIMIT) for prompt in prompts]
    assert len({tuple(ids) for ids in found}) == 3


def test_a_prompt_alone_is_a_prompt_in_company(tiny: TinyModel) -> None:
    """Of two lengths of programs, and more prompts than a batch holds."""
    model = tiny(seed=8).decoder
    prompts = prompts_of(*[5, 90, 17] * 20)
    found = written(model, prompts)
    assert found[::-1] == written(model, prompts[::-1])
    assert [written(model, [prompt])[0] for prompt in prompts[:3]] == found[:3]


def test_writing_ends_with_the_stride_in_which_all_answers_are_complete(tiny: TinyModel) -> None:
    model = tiny(seed=8).decoder
    [first, second] = prompts_of(5, 9)
    [ids, _] = written(model, [first, second])
    done = ids[2]

    def is_complete(found: Sequence[int]) -> bool:
        return done in found

    alone = written(model, [Prompt(first.ids, is_complete)])
    assert alone == [ids[:STRIDE]]
    assert [len(found) for found in written(model, [Prompt(first.ids, is_complete), second])] == [LIMIT] * 2


def test_reading_in_pieces_is_reading_at_once(tiny: TinyModel) -> None:
    """A prefix, then a tree of two branches behind padding: what `onward` reads is what a whole forward reads."""
    model = tiny(seed=8, **FAMILIES["gemma3_text"]).decoder
    tokens = jnp.array([[20, 21, 22, 23, 24, 25, 26, 27]])
    positions = jnp.array([[0, 1, 2, 3, 0, 4, 5, 5]])
    ends = jnp.array([[8, 8, 8, 8, 5, 8, 7, 8]])
    whole = model(tokens, positions, ends)
    past = model.init_cache(1, 8)
    pieces = []
    for begin, end in ((0, 4), (4, 8)):
        hidden, past = model.forward_with_cache(tokens[:, begin:end], positions, ends, past, jnp.int32(begin))
        pieces.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(pieces, axis=1), whole, rtol=1e-5, atol=1e-5)


def test_rows_fit_the_budget() -> None:
    assert [greedy._rows(length, 64) for length in (64, 960, 8192)] == [32, 4, 1]
