"""Log-probabilities of multiple-choice questions: one forward pass per question, whatever the number of choices.

A question always meets the same compiled program: its length decides the shape, every batch of a shape is filled up to
the same size, and so its numbers do not depend on its neighbours or its place in the list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from tokenizers import Tokenizer

from stages.lm.errors import QuestionError
from stages.lm.model import Decoder
from stages.lm.shapes import Array, Float, Int, Mesh
from stages.lm.sharding import FSDP, put
from stages.lm.tokens import continued
from stages.lm.trees import TokenTree, token_tree

# Fed tokens per batch: enough to keep two cores or one accelerator busy with a small model; batches of a shape are
# always this large, so that it is part of the result's identity and no knob.
BATCH_TOKENS = 2_048


class Shape(NamedTuple):
    """A compiled program's sizes: fed tokens, predicting positions and scored tokens per question."""

    length: int
    predictors: int
    scored: int

    @property
    def batch(self) -> int:
        """Questions per batch and group of devices."""
        return max(1, BATCH_TOKENS // self.length)


@dataclass(frozen=True)
class Batch:
    """Arrays of one batch of equal shape, and which trees its first rows are."""

    trees: tuple[int, ...]
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


class Scored(NamedTuple):
    """What a batch gave: which trees, each one's log-probabilities, and how many tokens were fed, padding included."""

    trees: tuple[int, ...]
    logprobs: list[np.ndarray]
    tokens: int
    fed: int


def score(model: Decoder, trees: Sequence[TokenTree], dtype: jnp.dtype, mesh: Mesh) -> Iterator[Scored]:
    """The log-probabilities of each tree's sequences (natural log, [choices] float32, summed over all tokens).

    Batch by batch, on all devices of `mesh`; where it is that of several processes, all of them ask with equal trees.
    """
    graph, state = nnx.split(model)
    running: tuple[Batch, Array] | None = None
    with jax.set_mesh(mesh):
        for batch in _batches(trees, mesh.shape[FSDP]):
            # Given to the device before the one before it is read: the two go on side by side.
            started = _token_logprobs(graph, state, *_device_arrays(batch, mesh), dtype, mesh)
            if running is not None:
                yield _read(*running, trees)
            running = (batch, started)
        if running is not None:
            yield _read(*running, trees)


def _read(batch: Batch, logprobs_BC: Array, trees: Sequence[TokenTree]) -> Scored:
    held_BC = np.asarray(logprobs_BC)
    asked = [trees[index] for index in batch.trees]
    summed = [
        np.array([held_BC[row, list(scored)].sum(dtype=np.float32) for scored in tree.paths])
        for row, tree in enumerate(asked)
    ]
    return Scored(batch.trees, summed, sum(len(tree.tokens) for tree in asked), batch.tokens_BT.size)


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
    mesh: Mesh,
) -> Float[Array, "B C"]:
    """Log-probability of each scored token, read off at the positions that predict one; only there is there a head."""
    model = nnx.merge(graph, state)
    hidden_BTD = model(tokens_BT, positions_BT, ends_BT, dtype)
    hidden_BQD = jnp.take_along_axis(hidden_BTD, predictors_BQ[:, :, None], axis=1)
    logprobs_BQV = jax.nn.log_softmax(model.logits(hidden_BQD), axis=-1)
    logprobs_BC = logprobs_BQV[jnp.arange(row_BC.shape[0])[:, None], row_BC, scored_BC]
    # Whole on every device, so that each process can read it.
    return jax.lax.with_sharding_constraint(logprobs_BC, NamedSharding(mesh, PartitionSpec()))


_token_logprobs = jax.jit(_token_logprobs_of, static_argnums=(0, 8, 9))


def _device_arrays(batch: Batch, mesh: Mesh) -> tuple[Array, ...]:
    arrays = (
        batch.tokens_BT, batch.positions_BT, batch.ends_BT, batch.predictors_BQ, batch.row_BC, batch.scored_BC,
    )  # fmt: skip
    return tuple(put(array, NamedSharding(mesh, PartitionSpec(FSDP))) for array in arrays)


def _shape(tree: TokenTree) -> Shape:
    length = len(tree.tokens)
    step = 32 if length <= 256 else 64 if length <= 1024 else 256
    predictors = len({scored.predictor for scored in tree.scored})
    return Shape(_rounded(length, step), _rounded(predictors, 4), _rounded(len(tree.scored), 8))


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def _batches(trees: Sequence[TokenTree], groups: int) -> Iterator[Batch]:
    """Batches of equal shape, the longest first: what would run out of memory does so at once."""
    by_shape: dict[Shape, list[int]] = {}
    for index, tree in enumerate(trees):
        by_shape.setdefault(_shape(tree), []).append(index)
    for shape, indices in sorted(by_shape.items(), reverse=True):
        size = shape.batch * groups
        for start in range(0, len(indices), size):
            taken = tuple(indices[start : start + size])
            yield _batch(shape, size, taken, [trees[index] for index in taken])


def _batch(shape: Shape, size: int, indices: tuple[int, ...], trees: Sequence[TokenTree]) -> Batch:
    batch = Batch(
        indices,
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
