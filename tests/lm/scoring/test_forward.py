"""Scoring lists of questions: the same bits in any batch, each question once, results in order."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

from stages.core.errors import QuestionError
from stages.lm.io.load import LanguageModel
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.sharding import FSDP, TENSOR, device_mesh
from stages.lm.scoring import forward, scorer
from stages.lm.scoring.batches import BatchArrays, TokenBudget, batch_shape, batches, token_budget
from stages.lm.scoring.cache import AnswerCache
from stages.lm.scoring.questions import Question, score_questions
from stages.lm.scoring.scorer import Scorer, chunk_size, content_key, score_all
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.plain_format import Turn
from stages.lm.tokens.prompt_formats import plain_prompts
from stages.lm.tokens.question_tree import encode_question
from stages.lm.tokens.trees import TokenTree, token_tree
from tests.helpers.families import FAMILIES
from tests.helpers.scoring import Memory, silent
from tests.helpers.tiny_model import FLOAT32, TinyModel

pytestmark = pytest.mark.usefixtures("exact")


@pytest.fixture(scope="module")
def model(tiny: TinyModel) -> LanguageModel:
    return tiny(seed=7)


def tree(prompt: Sequence[int], choices: Sequence[Sequence[int]] = ((3, 4, 6), (3, 5, 6))) -> TokenTree:
    return token_tree([PromptCompletion((*prompt, *choice), len(prompt)) for choice in choices])


def random_trees(count: int, longest: int = 28) -> list[TokenTree]:
    random = np.random.default_rng(9)
    return [tree(random.integers(10, 200, random.integers(1, longest)).tolist()) for _ in range(count)]


def scorer_of(model: LanguageModel, dtype: str = "float32", memory: Memory | None = None) -> Scorer:
    return Scorer(model.decoder, device_mesh(), jnp.dtype(dtype), AnswerCache(memory or Memory()))


def scored(model: LanguageModel, trees: Sequence[TokenTree], memory: Memory | None = None) -> list[bytes]:
    logprobs = score_all(scorer_of(model, memory=memory), trees, silent)
    return [values.tobytes() for values in logprobs]


# ---- the same bits


def test_order_and_batch_change_no_bit(model: LanguageModel) -> None:
    """More questions than a batch holds, of two shapes: together, backwards, in halves, and each alone."""
    trees = random_trees(80, longest=50)
    expected = scored(model, trees)
    assert len(set(expected)) == 80
    assert scored(model, trees[::-1])[::-1] == expected
    assert scored(model, trees[::2]) == expected[::2]
    assert [scored(model, [tree])[0] for tree in trees[:12]] == expected[:12]


def test_a_repeated_question_takes_one_row_and_gives_all_its_results(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = forward.token_logprobs
    calls: list[int] = []

    def counted(graph: Any, state: Any, prefix: Any, arrays: BatchArrays, **options: Any) -> jax.Array:
        calls.append(int(np.asarray(arrays.tokens_BT).any(axis=1).sum()))
        return run(graph, state, prefix, arrays, **options)

    monkeypatch.setattr(forward, "token_logprobs", counted)
    repeated, single = random_trees(2)
    advanced: list[float] = []
    trees = [repeated, single, *[repeated] * 200]
    results = list(score_all(scorer_of(model), trees, lambda amount, note: advanced.append(amount)))
    assert sum(calls) == 2
    assert sum(advanced) == 202
    assert results[1].tobytes() == scored(model, [single])[0]
    assert {values.tobytes() for values in [results[0], *results[2:]]} == set(scored(model, [repeated]))


def test_progress_counts_every_question(model: LanguageModel) -> None:
    progress: list[tuple[float, str]] = []
    assert len(list(score_all(scorer_of(model), random_trees(70), lambda *update: progress.append(update)))) == 70
    assert len(progress) > 1 and sum(amount for amount, _ in progress) == 70
    notes = [re.fullmatch(r"([\d,]+) tokens, [\d,]+ tokens/s, \d+% padding", note) for _, note in progress]
    tokens = [int(note[1].replace(",", "")) for note in notes if note]
    assert len(tokens) == len(progress) and tokens == sorted(tokens)
    assert tokens[-1] == sum(len(tree.tokens) for tree in random_trees(70))


def test_cached_scores_are_not_computed_again(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several chunks, stopped in the second: progress counts the cached ones, and only the rest is run."""
    monkeypatch.setattr(scorer, "chunk_size", lambda tokens, groups: 30)
    trees = random_trees(80)
    expected = scored(model, trees)
    memory = Memory()

    def stopped() -> Iterator[TokenTree]:
        yield from trees[:60]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(score_all(scorer_of(model, memory=memory), stopped(), silent))
    assert len(memory.scores) == 60
    progress: list[tuple[float, str]] = []
    results = score_all(scorer_of(model, memory=memory), trees, lambda *update: progress.append(update))
    assert [values.tobytes() for values in results] == expected
    assert progress[:2] == [(30, "from the cache")] * 2 and sum(amount for amount, _ in progress) == 80
    assert len(memory.scores) == 80


def test_results_come_while_the_list_is_read(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an endless list, only the chunk that is scored and the one after it are read."""
    monkeypatch.setattr(scorer, "chunk_size", lambda tokens, groups: 10)
    read = 0

    def endless() -> Iterator[TokenTree]:
        nonlocal read
        for endless_tree in cycle(random_trees(15)):
            read += 1
            yield endless_tree

    results = score_all(scorer_of(model), endless(), silent)
    first = [next(results).tobytes() for _ in range(35)]
    assert read <= 50
    assert first == (scored(model, random_trees(15)) * 3)[:35]


def test_every_part_of_a_tree_changes_its_key() -> None:
    trees = [
        tree([7, 8, 9]),
        tree([7, 8]),
        tree([7, 8, 9], ((3, 4), (3, 5))),
        tree([7, 8, 9], ((3, 5, 6), (3, 4, 6))),
        tree([7, 8], ((9, 3, 4, 6), (9, 3, 5, 6))),
        tree([7, 8, 9], ((3, 4, 6), (3, 5, 2))),
    ]
    assert len({content_key(variant) for variant in trees}) == len(trees)
    assert content_key(tree([7, 8, 9])) == content_key(trees[0])


def test_no_questions_give_no_results(model: LanguageModel) -> None:
    assert scored(model, []) == []


def test_few_shapes_for_many_lengths() -> None:
    """One program is compiled per shape: prompts of any length up to 2048 tokens need 48."""
    trees = [tree([1] * length) for length in (*range(1, 256, 3), *range(256, 2046, 21))]
    all_batches = list(batches(trees, 1, TokenBudget(1024, 1024)))
    shapes = {batch.arrays.tokens_BT.shape for batch in all_batches}
    assert len(shapes) <= 48
    assert all(size * length <= max(1024, length) for size, length in shapes)
    lengths = [batch.arrays.tokens_BT.shape[1] for batch in all_batches]
    assert lengths == sorted(lengths, reverse=True), "what may run out of memory comes first"
    padded_length = {question: batch.arrays.tokens_BT.shape[1] for batch in all_batches for question in batch.trees}
    assert sorted(padded_length) == [*range(len(trees))]
    assert all(padded_length[index] >= len(tree.tokens) for index, tree in enumerate(trees))


@pytest.mark.parametrize(("mean", "spread", "least"), [(130, 30, 50), (75, 5, 60)])
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_long_list_of_common_lengths_is_padded_by_less_than_a_tenth(
    kind: str, mean: float, spread: float, least: int
) -> None:
    """Lengths of questions with examples, and of the paper's claims; as many as a chunk has."""
    mesh = mesh_like(kind, groups=1)
    count = chunk_size(token_budget(mesh).plain, 1)
    lengths = np.random.default_rng(0).normal(mean, spread, count).clip(least, 230).astype(int)
    tree_of = {length: tree([1] * length) for length in range(least, 231)}
    trees = [tree_of[length] for length in lengths]
    padded_tokens = sum(batch.arrays.tokens_BT.size for batch in batches(trees, 1, token_budget(mesh)))
    assert padded_tokens * 0.9 < sum(len(tree.tokens) for tree in trees) < padded_tokens


@pytest.mark.parametrize(
    ("kind", "groups", "budget", "chunk"),
    [
        ("cpu", 1, (768, 256), 3_072),
        ("cpu", 8, (768, 256), 24_576),
        ("gpu", 1, (16_384, 512), 65_536),
        ("tpu", 16, (16_384, 512), 262_144),
        ("tpu", 64, (4_096, 128), 262_144),
        ("tpu", 1_024, (1_024, 32), 262_144),
    ],
)
def test_batches_do_not_grow_without_limit_with_the_devices(
    kind: str, groups: int, budget: tuple[int, int], chunk: int
) -> None:
    """On many devices each gets fewer tokens of a batch, and chunks are larger, so that most batches are full."""
    mesh = mesh_like(kind, groups)
    assert (token_budget(mesh), chunk_size(budget[0], groups)) == (budget, chunk)


def mesh_like(kind: str, groups: int) -> Mesh:
    """A mesh of mock devices, enough to plan batches but not to compute."""
    return Mesh(np.array([[Mock(platform=kind)]] * groups), (FSDP, TENSOR))


def test_the_output_head_runs_only_where_a_choice_token_is_predicted(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of forty tokens two predict a target; they are padded to four positions of the head."""
    shapes: list[tuple[int, ...]] = []
    logits = Decoder.logits

    def noted(decoder: Decoder, hidden: jax.Array) -> jax.Array:
        shapes.append(hidden.shape)
        return logits(decoder, hidden)

    monkeypatch.setattr(Decoder, "logits", noted)
    model = tiny(seed=7, num_hidden_layers=1)  # a shape that no other test compiles
    assert len(list(score_all(scorer_of(model), [tree([9] * 39)], silent))) == 1
    assert [shape[1] for shape in shapes] == [4]


# ---- prefixes that are prefilled once


def with_prefix(prefix: Sequence[int], count: int) -> list[TokenTree]:
    """Trees with the shared prefix `prefix` and different tokens after it."""
    random = np.random.default_rng(len(prefix))
    suffixes = [random.integers(10, 200, random.integers(1, 12)).tolist() for _ in range(count)]
    return [replace(tree([*prefix, *suffix]), prefix_len=len(prefix)) for suffix in suffixes]


@pytest.mark.parametrize("length", [40, 300])
@pytest.mark.parametrize("family", FAMILIES)
def test_prefilling_a_prefix_once_changes_no_score(tiny: TinyModel, family: str, length: int) -> None:
    """With a prefix of one block, and of two, one of them outside the window."""
    model = tiny(seed=7, **FAMILIES[family])
    trees = with_prefix([20 + index % 97 for index in range(length)], 7)
    logprobs = list(score_all(scorer_of(model), trees, silent))
    expected = list(score_all(scorer_of(model), [replace(tree, prefix_len=0) for tree in trees], silent))
    np.testing.assert_allclose(logprobs, expected, rtol=1e-5, atol=1e-5)


def test_prefixes_of_many_lengths_share_a_shape() -> None:
    """Few programs for many short lists: prefixes of up to 1,024 tokens share one, and lengths go in steps of 16."""
    shapes = {
        (shared, own): batch_shape(replace(tree([1] * (shared + own)), prefix_len=shared))[:2]
        for shared in (0, 200, 1_024, 1_025, 5_000)
        for own in (4, 60)
    }
    assert shapes == {
        (0, 4): (0, 8), (0, 60): (0, 64), (200, 4): (1_024, 16), (200, 60): (1_024, 64), (1_024, 4): (1_024, 16),
        (1_024, 60): (1_024, 64), (1_025, 4): (2_048, 16), (1_025, 60): (2_048, 64), (5_000, 4): (8_192, 16),
        (5_000, 60): (8_192, 64),
    }  # fmt: skip


def test_order_and_batch_change_no_bit_after_a_prefix(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions of three prefixes, one of them empty, interleaved: each prefix is prefilled once."""
    prefilled: list[tuple[int, ...]] = []
    run = forward.prefill_prefix

    def noted(graph: Any, state: Any, prefix: tuple[int, ...], dtype: Any) -> Any:
        prefilled.append(prefix)
        return run(graph, state, prefix, dtype)

    monkeypatch.setattr(forward, "prefill_prefix", noted)
    groups = [with_prefix(range(20, 60), 4), with_prefix(range(30, 50), 4), random_trees(4, longest=20)]
    trees = [tree for trio in zip(*groups, strict=True) for tree in trio]
    expected = scored(model, trees)
    assert sorted(prefix for prefix in prefilled if prefix) == [tuple(range(20, 60)), tuple(range(30, 50))]
    assert scored(model, trees[::-1])[::-1] == expected
    assert [scored(model, [tree])[0] for tree in trees[:6]] == expected[:6]
    assert len({content_key(variant) for variant in (trees[0], replace(trees[0], prefix_len=0))}) == 2


def test_a_shared_prefix_is_counted_in_tokens(model: LanguageModel) -> None:
    """If it is long enough, and up to the last token that the rest of the prompt cannot change."""
    few, many = "so it is. " * 2, "so it is. " * 40
    tokens = len(model.tokenizer.encode(many).ids)
    for shared, expected in ((few, 0), (many, tokens), ("", 0), (many + "x", tokens)):
        question = encode_question(model.tokenizer, many + "And now?", [" (A)", " (B)"], 4096, shared_prefix=shared)
        assert question.prefix_len == expected
    all_shared = encode_question(model.tokenizer, many, [" (A)", " (B)"], 4096, shared_prefix=many)
    assert all_shared.prefix_len == tokens - 1, "the prompt's last token belongs to the question"


# ---- the best choice


def test_choices_of_equal_weights_tie_and_the_first_is_best(model: LanguageModel, tiny: TinyModel) -> None:
    other = tiny(seed=7)
    # Rows of zeros give logits of exactly 0; equal rows could differ in the last digit, by their column.
    embedding = other.decoder.embedding[...]
    other.decoder.embedding = nnx.Param(embedding.at[jnp.array([4, 5])].set(0.0))
    trees = [tree([20, 21, 22], choices) for choices in ([[3, 4, 6], [3, 5, 6]], [[3, 5], [3, 4]])]
    for values in score_all(scorer_of(other), trees, silent):
        assert values[0] == values[1]
        assert np.argmax(values) == 0
    assert len(set(next(score_all(scorer_of(model), trees[:1], silent)).tolist())) == 2


def test_the_probabilities_of_all_next_tokens_sum_to_one(model: LanguageModel) -> None:
    vocabulary = [[[token] for token in range(first, first + 7)] for first in range(0, 266, 7)]
    logprobs = list(score_all(scorer_of(model), (tree([20, 21], choices) for choices in vocabulary), silent))
    assert {(values.dtype, values.shape) for values in logprobs} == {(FLOAT32, (7,))}
    assert np.exp(np.array(logprobs, np.float64)).sum() == pytest.approx(1.0, abs=1e-5)


# ---- questions as text


TURNS: list[Turn] = [{"role": "user", "text": "Is it so?"}]


def test_questions_are_scored_in_order(model: LanguageModel) -> None:
    questions = [
        Question("first", TURNS, "I say", [" (A)", " (B)", " (C)"]),
        Question("second", TURNS, "I say", [" (B)", " (A)"]),
        Question("third", TURNS, "I say", [" (A)", " (B)"], shared_prefix="Then: "),
    ]
    first, second, third = score_questions(scorer_of(model), plain_prompts(model), questions, silent)
    assert (len(first), len(second), len(third)) == (3, 2, 2)
    np.testing.assert_allclose(second, first[[1, 0]], atol=1e-5)
    assert not np.allclose(third, first[:2])
    prompt = "Human: Is it so?\n\nAssistant: I say"
    expected = scored(model, [encode_question(model.tokenizer, prompt, [" (A)", " (B)", " (C)"], 128)])
    assert first.tobytes() == expected[0]


def test_scores_are_computed_in_the_given_dtype(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = forward.token_logprobs
    used: list[Any] = []

    def noted(*arguments: Any, dtype: Any, mesh: Any) -> jax.Array:
        used.append(dtype)
        return run(*arguments, dtype=FLOAT32, mesh=mesh)

    monkeypatch.setattr(forward, "token_logprobs", noted)
    for name in ("bfloat16", "float32"):
        question = Question("row", TURNS, "I say", [" (A)", " (B)"])
        assert len(list(score_questions(scorer_of(model, name), plain_prompts(model), [question], silent))) == 1
    assert used == [jnp.dtype("bfloat16"), FLOAT32]
    assert compute_dtype("default") == (FLOAT32 if jax.default_backend() == "cpu" else jnp.dtype("bfloat16"))


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        (Question("row 7", TURNS, "I say", [" (A)", ""]), "row 7: a choice is empty"),
        (Question("row 7", TURNS, "I say", [" (A)", " (A)"]), "row 7: two choices are the same"),
        (Question("row 7", [{"role": "user", "text": "so " * 60}], "", [" (A)"]), "row 7: it has .* window of 128"),
        (Question("row 7", [{"role": "poet", "text": "so"}], "", [" (A)"]), "row 7: the role 'poet' is unknown"),
    ],
)
def test_a_problem_is_reported_under_its_question(model: LanguageModel, question: Question, problem: str) -> None:
    with pytest.raises(QuestionError, match=problem):
        list(
            score_questions(
                scorer_of(model),
                plain_prompts(model),
                [Question("row 6", TURNS, "I say", [" (A)", " (B)"]), question],
                silent,
            )
        )
