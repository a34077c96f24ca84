"""Scoring lists of questions: the same bits whatever the company, each once, each in its place."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stages.lm import scoring
from stages.lm.asking import Question, ask
from stages.lm.conversation import Turn
from stages.lm.errors import QuestionError
from stages.lm.loading import LanguageModel
from stages.lm.tokens import Continued
from stages.lm.trees import TokenTree, token_tree

pytestmark = pytest.mark.usefixtures("exact")

TinyModel = Callable[..., LanguageModel]

FLOAT32 = jnp.dtype("float32")


@pytest.fixture(scope="module")
def model(tiny: TinyModel) -> LanguageModel:
    return tiny(seed=7)


def tree(prompt: Sequence[int], choices: Sequence[Sequence[int]] = ((3, 4, 6), (3, 5, 6))) -> TokenTree:
    return token_tree([Continued((*prompt, *choice), len(prompt)) for choice in choices])


def random_trees(count: int, longest: int = 28) -> list[TokenTree]:
    random = np.random.default_rng(9)
    return [tree(random.integers(10, 200, random.integers(1, longest)).tolist()) for _ in range(count)]


def scored(model: LanguageModel, trees: Sequence[TokenTree]) -> list[bytes]:
    return [values.tobytes() for values in scoring.score(model.decoder, trees, FLOAT32, lambda amount: None)]


# ---- the same bits


def test_order_neighbours_and_company_change_no_bit(model: LanguageModel) -> None:
    """More questions than a batch holds, of two shapes: together, backwards, in halves, and each alone."""
    trees = random_trees(80, longest=50)
    whole = scored(model, trees)
    assert len(set(whole)) == 80
    assert scored(model, trees[::-1])[::-1] == whole
    assert scored(model, trees[::2]) == whole[::2]
    assert [scored(model, [tree])[0] for tree in trees[:12]] == whole[:12]


def test_a_question_that_is_asked_often_takes_one_row_and_tells_every_asker(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scoring._token_logprobs
    calls: list[int] = []

    def counted(graph: Any, state: Any, tokens_BT: jax.Array, *rest: Any) -> jax.Array:
        calls.append(int(np.asarray(tokens_BT).any(axis=1).sum()))
        return run(graph, state, tokens_BT, *rest)

    monkeypatch.setattr(scoring, "_token_logprobs", counted)
    one, other = random_trees(2)
    told: list[float] = []
    values = scoring.score(model.decoder, [one, other, *[one] * 200], FLOAT32, told.append)
    assert calls == [2]
    assert sum(told) == 202
    assert values[1].tobytes() == scored(model, [other])[0]
    assert {found.tobytes() for found in [values[0], *values[2:]]} == set(scored(model, [one]))


def test_progress_counts_every_question(model: LanguageModel) -> None:
    told: list[float] = []
    scoring.score(model.decoder, random_trees(70), FLOAT32, told.append)
    assert told == [64, 6]


def test_no_questions_are_no_answers(model: LanguageModel) -> None:
    assert scored(model, []) == []


def test_few_shapes_for_many_lengths() -> None:
    """Programs are compiled by shape: prompts of any length up to 2048 tokens need 24."""
    trees = [tree([1] * length) for length in (*range(1, 256, 9), *range(256, 2046, 63))]
    batches = list(scoring._batches(trees))
    shapes = {batch.tokens_BT.shape for batch in batches}
    assert len(shapes) <= 24
    assert all(size * length <= max(scoring.BATCH_TOKENS, length) for size, length in shapes)
    lengths = [batch.tokens_BT.shape[1] for batch in batches]
    assert lengths == sorted(lengths, reverse=True), "what may run out of memory comes first"
    fed = {question: batch.tokens_BT.shape[1] for batch in batches for question in batch.questions}
    assert sorted(fed) == [*range(len(trees))]
    assert all(fed[index] >= len(tree.tokens) for index, tree in enumerate(trees))


# ---- the best choice


def test_choices_of_equal_weights_tie_and_the_first_is_best(model: LanguageModel, tiny: TinyModel) -> None:
    decoder = tiny(seed=7).decoder
    embedding = decoder.embedding[...]
    decoder.embedding = nnx.Param(embedding.at[5].set(embedding[4]))
    trees = [tree([20, 21, 22], choices) for choices in ([[3, 4, 6], [3, 5, 6]], [[3, 5], [3, 4]])]
    for values in scoring.score(decoder, trees, FLOAT32, lambda amount: None):
        assert values[0] == values[1]
        assert np.argmax(values) == 0
    assert len(set(scoring.score(model.decoder, trees[:1], FLOAT32, lambda amount: None)[0].tolist())) == 2


def test_the_probabilities_of_all_next_tokens_sum_to_one(model: LanguageModel) -> None:
    vocabulary = [[[token] for token in range(first, first + 7)] for first in range(0, 266, 7)]
    found = scoring.score(
        model.decoder, [tree([20, 21], choices) for choices in vocabulary], FLOAT32, lambda amount: None
    )
    assert {(values.dtype, values.shape) for values in found} == {(FLOAT32, (7,))}
    assert np.exp(np.array(found, np.float64)).sum() == pytest.approx(1.0, abs=1e-5)


# ---- questions in words


ASKED: list[Turn] = [{"role": "user", "text": "Is it so?"}]


def test_words_are_asked_in_order(model: LanguageModel) -> None:
    questions = [
        Question("first", ASKED, "I say", [" (A)", " (B)", " (C)"]),
        Question("second", ASKED, "I say", [" (B)", " (A)"]),
        Question("third", ASKED, "I say", [" (A)", " (B)"], shared_prefix="Then: "),
    ]
    first, second, third = ask(model, questions, "float32", lambda amount: None)
    assert (len(first), len(second), len(third)) == (3, 2, 2)
    np.testing.assert_allclose(second, first[[1, 0]], atol=1e-5)
    assert not np.allclose(third, first[:2])
    prompt = "Human: Is it so?\n\nAssistant: I say"
    expected = scored(model, [scoring.encode(model.tokenizer, prompt, [" (A)", " (B)", " (C)"], 128)])
    assert first.tobytes() == expected[0]


def test_the_arithmetic_that_is_named_is_used(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scoring._token_logprobs
    used: list[Any] = []

    def noted(*arguments: Any) -> jax.Array:
        used.append(arguments[-1])
        return run(*arguments[:-1], FLOAT32)

    monkeypatch.setattr(scoring, "_token_logprobs", noted)
    for name in ("bfloat16", "float32", "default"):
        ask(model, [Question("row", ASKED, "I say", [" (A)", " (B)"])], name, lambda amount: None)
    assert used[:2] == [jnp.dtype("bfloat16"), FLOAT32]
    assert used[2] == (FLOAT32 if jax.default_backend() == "cpu" else jnp.dtype("bfloat16"))


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        (Question("row 7", ASKED, "I say", [" (A)", ""]), "row 7: a choice is empty"),
        (Question("row 7", ASKED, "I say", [" (A)", " (A)"]), "row 7: two choices are the same"),
        (Question("row 7", [{"role": "user", "text": "so " * 60}], "", [" (A)"]), "row 7: it has .* window of 128"),
        (Question("row 7", [{"role": "poet", "text": "so"}], "", [" (A)"]), "row 7: the role 'poet' is unknown"),
    ],
)
def test_a_problem_is_reported_under_its_question(model: LanguageModel, question: Question, problem: str) -> None:
    with pytest.raises(QuestionError, match=problem):
        ask(model, [Question("row 6", ASKED, "I say", [" (A)", " (B)"]), question], "float32", lambda amount: None)
