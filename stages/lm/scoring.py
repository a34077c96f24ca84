"""Log-probabilities of multiple-choice questions: one forward pass per question, whatever the number of choices.

A question always meets the same compiled program: its length decides the shape, every batch of a shape is filled up to
the same size, and so its numbers do not depend on its neighbours or its place in the list.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from stages.lm.errors import QuestionError
from stages.lm.model import Decoder
from stages.lm.shapes import Array, Float, Int
from stages.lm.tokens import continued
from stages.lm.trees import TokenTree, token_tree

# Fed tokens per batch: enough to keep two cores or one accelerator busy with a small model; batches of a shape are
# always this large, so that it is part of the result's identity and no knob.
BATCH_TOKENS = 2_048

Advance = Callable[[float], None]


class Shape(NamedTuple):
    """A compiled program's sizes: fed tokens, predicting positions and scored tokens per question."""

    length: int
    predictors: int
    scored: int

    @property
    def batch(self) -> int:
        """Questions per batch."""
        return max(1, BATCH_TOKENS // self.length)


@dataclass(frozen=True)
class Batch:
    """Arrays of one batch of equal shape, and which questions its first rows are."""

    questions: tuple[int, ...]
    tokens_BT: np.ndarray
    positions_BT: np.ndarray
    ends_BT: np.ndarray
    predictors_BQ: np.ndarray
    scored_BC: np.ndarray
    row_BC: np.ndarray


def encode(tokenizer: Tokenizer, prompt: str, choices: Sequence[str], max_positions: int) -> TokenTree:
    """A question's tree of tokens.

    Raises:
        QuestionError: it has fewer than one choice, equal or empty ones, or is longer than the model's window.
    """
    if not choices:
        raise QuestionError("it has no choices")
    sequences = [continued(tokenizer, prompt, choice) for choice in choices]
    if len({sequence.ids for sequence in sequences}) < len(sequences):
        raise QuestionError("two choices are the same")
    tree = token_tree(sequences)
    if max(tree.positions) >= max_positions:
        raise QuestionError(f"it has {max(tree.positions) + 1} tokens, more than the model's window of {max_positions}")
    return tree


def score(model: Decoder, trees: Sequence[TokenTree], dtype: jnp.dtype, advance: Advance) -> list[np.ndarray]:
    """Each question's log-probabilities, [choices] float32 (natural log, summed over all of a choice's tokens).

    Equal trees are scored once. `advance` is told how many questions were done.
    """
    distinct: dict[TokenTree, list[int]] = {}
    for index, tree in enumerate(trees):
        distinct.setdefault(tree, []).append(index)
    order = list(distinct)
    results: list[np.ndarray] = [np.empty(0)] * len(trees)
    graph, state = nnx.split(model)
    for batch in _batches(order):
        logprobs_BC = np.asarray(_token_logprobs(graph, state, *_device_arrays(batch), dtype))
        for row, question in enumerate(batch.questions):
            tree = order[question]
            values = np.array([logprobs_BC[row, list(scored)].sum(dtype=np.float32) for scored in tree.paths])
            for index in distinct[tree]:
                results[index] = values
        advance(sum(len(distinct[order[question]]) for question in batch.questions))
    return results


def _token_logprobs_of(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    tokens_BT: Int[Array, "B T"],
    positions_BT: Int[Array, "B T"],
    ends_BT: Int[Array, "B T"],
    predictors_BQ: Int[Array, "B Q"],
    row_BC: Int[Array, "B C"],
    scored_BC: Int[Array, "B C"],
    dtype: jnp.dtype,
) -> Float[Array, "B C"]:
    """Log-probability of each scored token, read off at the positions that predict one; only there is there a head."""
    model = nnx.merge(graph, state)
    hidden_BTD = model(tokens_BT, positions_BT, ends_BT, dtype)
    hidden_BQD = jnp.take_along_axis(hidden_BTD, predictors_BQ[:, :, None], axis=1)
    logprobs_BQV = jax.nn.log_softmax(model.logits(hidden_BQD), axis=-1)
    return logprobs_BQV[jnp.arange(row_BC.shape[0])[:, None], row_BC, scored_BC]


_token_logprobs = jax.jit(_token_logprobs_of, static_argnums=(0, 8))


def _device_arrays(batch: Batch) -> tuple[Array, ...]:
    arrays = (
        batch.tokens_BT, batch.positions_BT, batch.ends_BT, batch.predictors_BQ, batch.row_BC, batch.scored_BC,
    )  # fmt: skip
    return tuple(jnp.asarray(array) for array in arrays)


def _shape(tree: TokenTree) -> Shape:
    length = len(tree.tokens)
    step = 32 if length <= 256 else 64 if length <= 1024 else 256
    predictors = len({scored.predictor for scored in tree.scored})
    return Shape(_rounded(length, step), _rounded(predictors, 4), _rounded(len(tree.scored), 8))


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def _batches(trees: Sequence[TokenTree]) -> Iterator[Batch]:
    """Batches of equal shape, the longest first: what would run out of memory does so at once."""
    by_shape: dict[Shape, list[int]] = {}
    for index, tree in enumerate(trees):
        by_shape.setdefault(_shape(tree), []).append(index)
    for shape, questions in sorted(by_shape.items(), reverse=True):
        for start in range(0, len(questions), shape.batch):
            taken = tuple(questions[start : start + shape.batch])
            yield _batch(shape, taken, [trees[question] for question in taken])


def _batch(shape: Shape, questions: tuple[int, ...], trees: Sequence[TokenTree]) -> Batch:
    size = shape.batch
    batch = Batch(
        questions,
        tokens_BT=np.zeros((size, shape.length), np.int32),
        positions_BT=np.zeros((size, shape.length), np.int32),
        # Padding sees itself alone.
        ends_BT=np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (size, 1)),
        predictors_BQ=np.zeros((size, shape.predictors), np.int32),
        scored_BC=np.zeros((size, shape.scored), np.int32),
        row_BC=np.zeros((size, shape.scored), np.int32),
    )
    for row, tree in enumerate(trees):
        length = len(tree.tokens)
        batch.tokens_BT[row, :length] = tree.tokens
        batch.positions_BT[row, :length] = tree.positions
        batch.ends_BT[row, :length] = tree.ends
        predictors = sorted({scored.predictor for scored in tree.scored})
        batch.predictors_BQ[row, : len(predictors)] = predictors
        batch.scored_BC[row, : len(tree.scored)] = [scored.token for scored in tree.scored]
        batch.row_BC[row, : len(tree.scored)] = [predictors.index(scored.predictor) for scored in tree.scored]
    return batch
