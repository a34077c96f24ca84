"""The scoring forward pass: log-probabilities of all choices of a multiple-choice question at once.

A question always runs in the same compiled program: its length determines the shape, and every batch of a shape is
padded to the same size. So its scores do not depend on the other questions in the batch or on its place in the list.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from stages.lm.nn.attention import Prefix
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Array, Float, Int, Mesh
from stages.lm.nn.sharding import FSDP, put
from stages.lm.scoring.batches import Batch, BatchArrays, batches, prefix_arrays, prefix_capacity, token_budget
from stages.lm.tokens.trees import TokenTree


class ScoredBatch(NamedTuple):
    """The results of a batch: its trees' indices, their log-probabilities, and its tokens without and with padding."""

    trees: tuple[int, ...]
    logprobs: list[np.ndarray]
    tokens: int
    padded_tokens: int


def score_trees(model: Decoder, trees: Sequence[TokenTree], dtype: jnp.dtype, mesh: Mesh) -> Iterator[ScoredBatch]:
    """The log-probabilities of each tree's sequences (natural log, [choices] float32, summed over all tokens).

    Yields them batch by batch, computed on all devices of `mesh`. With a mesh of several processes, all of them call
    this with equal trees.
    """
    graph, state = nnx.split(model)
    running: tuple[Batch, Array] | None = None
    prefix_ids: tuple[int, ...] = ()
    prefix: Prefix | None = None
    with jax.set_mesh(mesh):
        for batch in batches(trees, mesh.shape[FSDP], token_budget(mesh)):
            if batch.prefix != prefix_ids:
                prefix_ids, prefix = batch.prefix, prefill_prefix(graph, state, batch.prefix, dtype)
            # Sent to the device before the results of the previous batch are read, so that the two overlap.
            logprobs_BC = token_logprobs(graph, state, prefix, device_arrays(batch, mesh), dtype=dtype, mesh=mesh)
            if running is not None:
                yield _to_host(*running, trees)
            running = (batch, logprobs_BC)
        if running is not None:
            yield _to_host(*running, trees)


def prefill_prefix(
    graph: nnx.GraphDef[Decoder], state: nnx.State, tokens: tuple[int, ...], dtype: jnp.dtype
) -> Prefix | None:
    """The keys and values of a prefix; None if it has no tokens."""
    if not tokens:
        return None
    return _prefill(graph, state, *map(jnp.asarray, prefix_arrays(tokens)), jnp.int32(len(tokens)), dtype=dtype)


@partial(jax.jit, static_argnames=("graph", "dtype"))
def _prefill(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    tokens_1P: Int[Array, "1 P"],
    positions_1P: Int[Array, "1 P"],
    ends_1P: Int[Array, "1 P"],
    length: Int[Array, ""],
    dtype: jnp.dtype,
) -> Prefix:
    model = nnx.merge(graph, state)
    rows, P = tokens_1P.shape
    empty = model.init_cache(rows, P, dtype)
    cache = model.forward_with_cache(tokens_1P, positions_1P, ends_1P, empty, jnp.int32(0), dtype)[1]
    padding = ((0, 0), (0, 0), (0, prefix_capacity(P) - P), (0, 0), (0, 0))
    key, value = (jnp.pad(array, padding) for array in cache)
    return Prefix(key, value, jnp.full(model.config.layers, length))


def _to_host(batch: Batch, logprobs_BC: Array, trees: Sequence[TokenTree]) -> ScoredBatch:
    """Waits for a batch's token log-probabilities, and sums them over the tokens of each choice."""
    host_BC = np.asarray(logprobs_BC)
    batch_trees = [trees[index] for index in batch.trees]
    sums = [
        np.array([host_BC[row, list(targets)].sum(dtype=np.float32) for targets in tree.paths])
        for row, tree in enumerate(batch_trees)
    ]
    tokens = sum(len(tree.tokens) - tree.prefix_len for tree in batch_trees)
    return ScoredBatch(batch.trees, sums, tokens, batch.arrays.tokens_BT.size)


@partial(jax.jit, static_argnames=("graph", "dtype", "mesh"))
def token_logprobs(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    prefix: Prefix | None,
    arrays: BatchArrays,
    dtype: jnp.dtype,
    mesh: Mesh,
) -> Float[Array, "B C"]:
    """Log-probability of each target token: the program that every question runs in.

    Only positions that predict a target go through the output head. The tokens follow `prefix`, if there is one.
    """
    model = nnx.merge(graph, state)
    inputs = (arrays.tokens_BT, arrays.positions_BT, arrays.ends_BT)
    hidden_BTD = model(*inputs, dtype) if prefix is None else model.forward_with_prefix(prefix, *inputs, dtype)
    hidden_BQD = jnp.take_along_axis(hidden_BTD, arrays.logit_positions_BQ[:, :, None], axis=1)
    logprobs_BQV = jax.nn.log_softmax(model.logits(hidden_BQD), axis=-1)
    rows_B1 = jnp.arange(arrays.logit_index_BC.shape[0])[:, None]
    logprobs_BC = logprobs_BQV[rows_B1, arrays.logit_index_BC, arrays.targets_BC]
    # Replicated on every device, so that each process can read it.
    return jax.lax.with_sharding_constraint(logprobs_BC, NamedSharding(mesh, PartitionSpec()))


def device_arrays(batch: Batch, mesh: Mesh) -> BatchArrays:
    """A batch's arrays on the devices of `mesh`, with the rows split among its groups."""
    by_rows = NamedSharding(mesh, PartitionSpec(FSDP))
    return BatchArrays(*(put(array, by_rows) for array in batch.arrays))
