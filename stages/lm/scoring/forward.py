"""Log-probabilities of multiple-choice questions: one forward pass per question, whatever the number of choices.

A question always meets the same compiled program: its length decides the shape, every batch of a shape is filled up to
the same size, and so its numbers do not depend on its neighbours or its place in the list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from tokenizers import Tokenizer

from stages.core.errors import QuestionError
from stages.lm.nn.attention import Prefix
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Array, Float, Int, Mesh
from stages.lm.nn.sharding import FSDP, put
from stages.lm.scoring.batches import Batch, batches, prefix_arrays, prefix_capacity, token_budget
from stages.lm.tokens.continuation import PromptCompletion, encode_pairs
from stages.lm.tokens.trees import TokenTree, token_tree

# A prefix that many questions share is read once from so many tokens on: below that, reading it again costs little.
MIN_SHARED_TOKENS = 128


def encode(
    tokenizer: Tokenizer, prompt: str, choices: Sequence[str], max_positions: int, shared_prefix: str = ""
) -> TokenTree:
    """A question's tree of tokens; what the prompt begins with and shares with others is marked as such.

    Raises:
        QuestionError: it has fewer than one choice, equal or empty ones, or is longer than the model's window.
    """
    sequences = list(encode_pairs(tokenizer, [(prompt, choice) for choice in choices]))
    return question_tree(sequences, max_positions, tokenizer.encode(shared_prefix).ids)


def question_tree(sequences: Sequence[PromptCompletion], max_positions: int, beginning: Sequence[int]) -> TokenTree:
    """The tree of a question's choices, each continuing its prompt; `beginning` is the shared prefix by itself.

    Raises:
        QuestionError: as `encode`.
    """
    if not sequences:
        raise QuestionError("it has no choices")
    if len({sequence.ids for sequence in sequences}) < len(sequences):
        raise QuestionError("two choices are the same")
    tree = token_tree(sequences)
    if max(tree.positions) >= max_positions:
        raise QuestionError(f"it has {max(tree.positions) + 1} tokens, more than the model's window of {max_positions}")
    shared = _shared_tokens(beginning, sequences[0])
    return replace(tree, prefix_len=shared if shared >= MIN_SHARED_TOKENS else 0)


def _shared_tokens(beginning: Sequence[int], sequence: PromptCompletion) -> int:
    """How many tokens of the prompt, but its last, are those of the shared prefix by itself."""
    pairs = zip(beginning, sequence.ids[: sequence.prompt_len - 1], strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(beginning), sequence.prompt_len - 1))


class ScoredBatch(NamedTuple):
    """What a batch gave: which trees, each one's log-probabilities, and how many tokens were fed, padding included."""

    trees: tuple[int, ...]
    logprobs: list[np.ndarray]
    tokens: int
    padded_tokens: int


def score_trees(model: Decoder, trees: Sequence[TokenTree], dtype: jnp.dtype, mesh: Mesh) -> Iterator[ScoredBatch]:
    """The log-probabilities of each tree's sequences (natural log, [choices] float32, summed over all tokens).

    Batch by batch, on all devices of `mesh`; where it is that of several processes, all of them ask with equal trees.
    """
    graph, state = nnx.split(model)
    running: tuple[Batch, Array] | None = None
    read: tuple[int, ...] = ()
    prefix: Prefix | None = None
    with jax.set_mesh(mesh):
        for batch in batches(trees, mesh.shape[FSDP], token_budget(mesh)):
            if batch.prefix != read:
                read, prefix = batch.prefix, prefill_prefix(graph, state, batch.prefix, dtype)
            # Given to the device before the one before it is read: the two go on side by side.
            started = token_logprobs(graph, state, prefix, *device_arrays(batch, mesh), dtype, mesh)
            if running is not None:
                yield _read(*running, trees)
            running = (batch, started)
        if running is not None:
            yield _read(*running, trees)


def prefill_prefix(
    graph: nnx.GraphDef[Decoder], state: nnx.State, tokens: tuple[int, ...], dtype: jnp.dtype
) -> Prefix | None:
    """The keys and values of a prefix; none, where it has no tokens."""
    if not tokens:
        return None
    return _prefix(graph, state, *map(jnp.asarray, prefix_arrays(tokens)), jnp.int32(len(tokens)), dtype)


def _prefix_of(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    tokens_1P: Int[Array, "1 P"],
    positions_1P: Int[Array, "1 P"],
    ends_1P: Int[Array, "1 P"],
    length: Int[Array, ""],
    dtype: jnp.dtype,
) -> Prefix:
    model = nnx.merge(graph, state)
    rows, places = tokens_1P.shape
    nothing = model.init_cache(rows, places, dtype)
    past = model.forward_with_cache(tokens_1P, positions_1P, ends_1P, nothing, jnp.int32(0), dtype)[1]
    more = ((0, 0), (0, 0), (0, prefix_capacity(places) - places), (0, 0), (0, 0))
    key, value = (jnp.pad(array, more) for array in past)
    return Prefix(key, value, jnp.full(model.config.layers, length))


_prefix = jax.jit(_prefix_of, static_argnums=(0, 6))


def _read(batch: Batch, logprobs_BC: Array, trees: Sequence[TokenTree]) -> ScoredBatch:
    held_BC = np.asarray(logprobs_BC)
    asked = [trees[index] for index in batch.trees]
    summed = [
        np.array([held_BC[row, list(scored)].sum(dtype=np.float32) for scored in tree.paths])
        for row, tree in enumerate(asked)
    ]
    tokens = sum(len(tree.tokens) - tree.prefix_len for tree in asked)
    return ScoredBatch(batch.trees, summed, tokens, batch.tokens_BT.size)


def _token_logprobs_of(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    prefix: Prefix | None,
    tokens_BT: Int[Array, "B T"],
    positions_BT: Int[Array, "B T"],
    ends_BT: Int[Array, "B T"],
    predictors_BQ: Int[Array, "B Q"],
    row_BC: Int[Array, "B C"],
    scored_BC: Int[Array, "B C"],
    dtype: jnp.dtype,
    mesh: Mesh,
) -> Float[Array, "B C"]:
    """Log-probability of each scored token, read off at the positions that predict one; only there is there a head.

    The tokens stand behind a `prefix`, if there is one.
    """
    model = nnx.merge(graph, state)
    if prefix is None:
        hidden_BTD = model(tokens_BT, positions_BT, ends_BT, dtype)
    else:
        hidden_BTD = model.forward_with_prefix(prefix, tokens_BT, positions_BT, ends_BT, dtype)
    hidden_BQD = jnp.take_along_axis(hidden_BTD, predictors_BQ[:, :, None], axis=1)
    logprobs_BQV = jax.nn.log_softmax(model.logits(hidden_BQD), axis=-1)
    logprobs_BC = logprobs_BQV[jnp.arange(row_BC.shape[0])[:, None], row_BC, scored_BC]
    # Whole on every device, so that each process can read it.
    return jax.lax.with_sharding_constraint(logprobs_BC, NamedSharding(mesh, PartitionSpec()))


# The program that every question runs in.
token_logprobs = jax.jit(_token_logprobs_of, static_argnums=(0, 9, 10))


def device_arrays(batch: Batch, mesh: Mesh) -> tuple[Array, ...]:
    """A batch's arrays on the devices, as `token_logprobs` takes them."""
    return tuple(put(array, NamedSharding(mesh, PartitionSpec(FSDP))) for array in batch.arrays)
