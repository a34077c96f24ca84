"""Token trees: their layout for literal sequences, and their scores against one forward pass per choice."""

from collections.abc import Callable, Sequence
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stages.core.errors import QuestionError
from stages.lm.io.load import LanguageModel
from stages.lm.nn.sharding import device_mesh
from stages.lm.scoring.forward import score_trees
from stages.lm.tokens.continuation import PromptCompletion, encode_pairs
from stages.lm.tokens.question_tree import encode_question
from stages.lm.tokens.trees import TargetToken, TokenTree, token_tree
from tests.helpers.tiny_model import FLOAT32, TinyModel

pytestmark = pytest.mark.usefixtures("exact")

Judge = Callable[[PromptCompletion], float]

T = 32


def tree_of(start: int, *sequences: Sequence[int]) -> TokenTree:
    return token_tree([PromptCompletion(tuple(ids), start) for ids in sequences])


# ---- layout


@pytest.mark.parametrize(
    ("sequences", "tree"),
    [
        (  # one token each: a classifier at the prompt's last token
            [[1, 2, 7], [1, 2, 8]],
            TokenTree((1, 2), (0, 1), (2, 2), (TargetToken(1, 7), TargetToken(1, 8)), ((0,), (1,))),
        ),
        (  # ` (A)` and ` (B)`: the first token is shared, the last is predicted once below each branch
            [[1, 2, 5, 7, 6], [1, 2, 5, 8, 6]],
            TokenTree(
                (1, 2, 5, 7, 8),
                (0, 1, 2, 3, 3),
                (5, 5, 5, 4, 5),
                (TargetToken(1, 5), TargetToken(2, 7), TargetToken(3, 6), TargetToken(2, 8), TargetToken(4, 6)),
                ((0, 1, 2), (0, 3, 4)),
            ),
        ),
        (  # the first choice is a prefix of the second
            [[1, 2, 7], [1, 2, 7, 8]],
            TokenTree((1, 2, 7), (0, 1, 2), (3, 3, 3), (TargetToken(1, 7), TargetToken(2, 8)), ((0,), (0, 1))),
        ),
        (  # the same below a fork and in the reverse order
            [[1, 2, 7, 8, 9], [1, 2, 5], [1, 2, 7, 8]],
            TokenTree(
                (1, 2, 7, 8),
                (0, 1, 2, 3),
                (4, 4, 4, 4),
                (TargetToken(1, 7), TargetToken(2, 8), TargetToken(3, 9), TargetToken(1, 5)),
                ((0, 1, 2), (3,), (0, 1)),
            ),
        ),
        (  # a fork below a fork: the end of each node is that of its subtree
            [[1, 2, 3, 5, 9], [1, 2, 3, 6, 9], [1, 2, 4, 9]],
            TokenTree(
                (1, 2, 3, 5, 6, 4),
                (0, 1, 2, 3, 3, 2),
                (6, 6, 5, 4, 5, 6),
                (
                    TargetToken(1, 3),
                    TargetToken(2, 5),
                    TargetToken(3, 9),
                    TargetToken(2, 6),
                    TargetToken(4, 9),
                    TargetToken(1, 4),
                    TargetToken(5, 9),
                ),
                ((0, 1, 2), (0, 3, 4), (5, 6)),
            ),
        ),
        (  # a single choice: its log-probability is that of a text
            [[1, 2, 7, 8]],
            TokenTree((1, 2, 7), (0, 1, 2), (3, 3, 3), (TargetToken(1, 7), TargetToken(2, 8)), ((0, 1),)),
        ),
    ],
)
def test_layout(sequences: list[list[int]], tree: TokenTree) -> None:
    assert tree_of(2, *sequences) == tree


def test_a_token_across_the_boundary_belongs_to_its_own_choice_only() -> None:
    # The prompt has tokens 1 and 2, but in the first choice the 2 is part of the choice's token 9.
    tree = token_tree([PromptCompletion((1, 9), 1), PromptCompletion((1, 2, 7), 2)])
    assert tree == TokenTree((1, 2), (0, 1), (2, 2), (TargetToken(0, 9), TargetToken(1, 7)), ((0,), (1,)))


def test_a_long_prompt_does_not_recurse() -> None:
    prompt = list(range(5000))
    tree = tree_of(5000, [*prompt, 1], [*prompt, 2])
    assert tree.positions == tuple(prompt) and set(tree.ends) == {5000}


# ---- numbers


@pytest.fixture(scope="module")
def model(tiny: TinyModel) -> LanguageModel:
    return tiny(seed=7)


@pytest.fixture(scope="module")
def judge(model: LanguageModel) -> Judge:
    """The log-probability of a continuation, computed by a separate forward pass."""
    graph, state = nnx.split(model.decoder)

    @jax.jit
    def logprobs(tokens: jax.Array) -> jax.Array:
        decoder = nnx.merge(graph, state)
        hidden = decoder(tokens, jnp.arange(T)[None], jnp.full((1, T), T))
        return jax.nn.log_softmax(decoder.logits(hidden[0]), axis=-1)

    def logprob(sequence: PromptCompletion) -> float:
        tokens = np.zeros((1, T), np.int32)
        tokens[0, : len(sequence.ids)] = sequence.ids
        rows = np.asarray(logprobs(jnp.asarray(tokens)))
        targets = range(sequence.prompt_len, len(sequence.ids))
        return float(sum(rows[index - 1, sequence.ids[index]] for index in targets))

    return logprob


def scored(model: LanguageModel, trees: Sequence[TokenTree]) -> list[np.ndarray]:
    batches = score_trees(model.decoder, trees, FLOAT32, device_mesh())
    logprobs = {index: values for batch in batches for index, values in zip(batch.trees, batch.logprobs, strict=True)}
    return [logprobs[index] for index in range(len(trees))]


def random_question(random: np.random.Generator) -> list[PromptCompletion]:
    """Up to four distinct choices of one to three tokens, from a vocabulary of two, so that many share a prefix."""
    prompt = random.integers(10, 200, random.integers(1, 20)).tolist()
    choices = {tuple(random.integers(20, 22, random.integers(1, 4)).tolist()) for _ in range(random.integers(1, 7))}
    return [PromptCompletion((*prompt, *choice), len(prompt)) for choice in sorted(choices)[:4]]


def test_a_tree_has_the_scores_of_one_forward_pass_per_choice(model: LanguageModel, judge: Judge) -> None:
    random = np.random.default_rng(8)
    questions = [random_question(random) for _ in range(40)]
    for question, actual in zip(questions, scored(model, [token_tree(q) for q in questions]), strict=True):
        expected = [judge(sequence) for sequence in question]
        np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=1e-6)
        assert np.argmax(actual) == np.argmax(expected)


def test_the_order_of_choices_is_the_order_of_results(model: LanguageModel) -> None:
    orders = list(permutations([(3, 4, 6), (3, 5, 6), (3,), (7, 4)]))
    trees = [tree_of(2, *([1, 2, *choice] for choice in order)) for order in orders]
    first, *others = scored(model, trees)
    assert len(set(first.tolist())) == 4
    for order, actual in zip(orders[1:], others, strict=True):
        np.testing.assert_allclose(actual, [first[orders[0].index(choice)] for choice in order], atol=1e-5)


def test_a_prompt_and_a_choice_are_tokenised_together(model: LanguageModel, judge: Judge) -> None:
    """Even if a token of a choice contains a part of the prompt: `n` and `o` are one token."""
    prompt, choices = "this is an", [" (A)", " (B)", "o", "x"]
    sequences = list(encode_pairs(model.tokenizer, [(prompt, choice) for choice in choices]))
    assert [sequence.prompt_len for sequence in sequences] == [6, 6, 5, 6]
    [actual] = scored(model, [encode_question(model.tokenizer, prompt, choices, T)])
    np.testing.assert_allclose(actual, [judge(sequence) for sequence in sequences], atol=1e-5)


# ---- questions that cannot be scored


@pytest.mark.parametrize(
    ("prompt", "choices", "problem"),
    [
        ("a", [], "it has no choices"),
        ("a", [" (A)", ""], "a choice is empty"),
        ("a", [" (A)", " (A)"], "two choices are the same"),
        ("", ["A", "B"], "the prompt is empty"),
        # The prompt's only letter is a part of the choice's token.
        ("n", ["o"], "no token predicts the first token"),
    ],
)
def test_a_question_that_cannot_be_scored_is_refused(
    model: LanguageModel, prompt: str, choices: list[str], problem: str
) -> None:
    with pytest.raises(QuestionError, match=problem):
        encode_question(model.tokenizer, prompt, choices, T)


def test_a_prompt_may_fill_the_window_and_no_more(model: LanguageModel) -> None:
    # The last token of a choice is only a target: of ` (A)`, the inputs are ` (` and `A`.
    assert max(encode_question(model.tokenizer, "x" * 8, [" (A)", " (B)"], 10).positions) == 9
    with pytest.raises(QuestionError, match="it has 11 tokens, more than the model's window of 10"):
        encode_question(model.tokenizer, "x" * 9, [" (A)", " (B)"], 10)
