"""Greedy decoding: the most probable token again and again, for many prompts at once, with keys and values kept.

Prompts are filled up on their left to a common length, so that all of a batch write their next token at one place. A
prompt always meets the same compiled programs and the same number of rows, as in `stages.lm.scoring.forward`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from stages.lm.nn.attention import KVCache
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Array, Float, Int, Mesh
from stages.lm.nn.sharding import FSDP, put

# Places of a batch's rows, prompts and answers together; with shapes it decides the number of rows.
BATCH_PLACES = 4_096
# Prompts of lengths that differ by less share a compiled program.
LENGTH_STEP = 64
# Tokens that are written before it is looked whether any answer goes on.
STRIDE = 16


class Prompt(NamedTuple):
    """Token ids to go on from, and what says of the ids that were written whether they are all."""

    ids: tuple[int, ...]
    is_complete: Callable[[Sequence[int]], bool]


class Generated(NamedTuple):
    """What a batch gave: which prompts, and the token ids that were written after each."""

    prompts: tuple[int, ...]
    ids: list[list[int]]


def generate(
    model: Decoder, prompts: Sequence[Prompt], limit: int, dtype: jnp.dtype, mesh: Mesh
) -> Iterator[Generated]:
    """Goes on from each prompt until `is_complete` says so or `limit` tokens are written, batch by batch.

    Of equal logits the first token counts. Tokens are written in strides, and go on while another answer of the batch
    is not complete: the caller cuts each where it ends.
    """
    graph, state = nnx.split(model)
    limit = -(-limit // STRIDE) * STRIDE
    with jax.set_mesh(mesh):
        for length, indices in _batches(prompts, limit, mesh.shape[FSDP]):
            yield Generated(indices, _written(graph, state, [prompts[i] for i in indices], length, limit, dtype, mesh))


def _batches(prompts: Sequence[Prompt], limit: int, groups: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Prompts of about equal length, the longest first; each with the length that they are filled up to."""
    by_length: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_length.setdefault(-(-len(prompt.ids) // LENGTH_STEP) * LENGTH_STEP, []).append(index)
    for length, indices in sorted(by_length.items(), reverse=True):
        size = _rows(length, limit) * groups
        for start in range(0, len(indices), size):
            yield length, tuple(indices[start : start + size])


def _rows(length: int, limit: int) -> int:
    return max(1, BATCH_PLACES // (length + limit))


def _written(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    prompts: Sequence[Prompt],
    length: int,
    limit: int,
    dtype: jnp.dtype,
    mesh: Mesh,
) -> list[list[int]]:
    rows = NamedSharding(mesh, PartitionSpec(FSDP))
    size = _rows(length, limit) * mesh.shape[FSDP]
    tokens_BP, *places = (put(array, rows) for array in _laid(prompts, size, length, limit))
    past, next_B = _prefill(graph, state, tokens_BP, *places, dtype)
    written: list[list[int]] = [[] for _ in prompts]
    for start in range(length, length + limit, STRIDE):
        past, next_B, fresh_BT = _go_on(graph, state, past, next_B, jnp.int32(start), *places, dtype, mesh)
        for ids, fresh in zip(written, np.asarray(fresh_BT).tolist(), strict=False):
            ids += fresh
        if all(prompt.is_complete(ids) for prompt, ids in zip(prompts, written, strict=True)):
            break
    return written


def _laid(prompts: Sequence[Prompt], size: int, length: int, limit: int) -> tuple[np.ndarray, ...]:
    """Tokens of the prompts on the right of `length` places; positions and ends of those places and `limit` more."""
    tokens = np.zeros((size, length), np.int32)
    positions = np.zeros((size, length + limit), np.int32)
    # Padding sees itself alone, and so nobody looks at it.
    ends = np.tile(np.arange(1, length + limit + 1, dtype=np.int32), (size, 1))
    for row, prompt in enumerate(prompts):
        begin = length - len(prompt.ids)
        tokens[row, begin:] = prompt.ids
        positions[row, begin:] = np.arange(len(prompt.ids) + limit)
        ends[row, begin:] = length + limit
    return tokens, positions, ends


def _prefill_of(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    tokens_BP: Int[Array, "B P"],
    positions_BS: Int[Array, "B S"],
    ends_BS: Int[Array, "B S"],
    dtype: jnp.dtype,
) -> tuple[KVCache, Int[Array, " B"]]:
    model = nnx.merge(graph, state)
    rows, places = positions_BS.shape
    past = model.init_cache(rows, places, dtype)
    hidden_BPD, past = model.forward_with_cache(tokens_BP, positions_BS, ends_BS, past, jnp.int32(0), dtype)
    return past, _most_probable(model, hidden_BPD[:, -1])


def _go_on_of(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    past: KVCache,
    next_B: Int[Array, " B"],
    start: Int[Array, ""],
    positions_BS: Int[Array, "B S"],
    ends_BS: Int[Array, "B S"],
    dtype: jnp.dtype,
    mesh: Mesh,
) -> tuple[KVCache, Int[Array, " B"], Int[Array, "B T"]]:
    """Writes STRIDE tokens, of which the first is `next_B`; returns the token after them, too."""
    model = nnx.merge(graph, state)

    def step(carried: tuple[KVCache, Array], place: Array) -> tuple[tuple[KVCache, Array], Array]:
        past, token_B = carried
        hidden_B1D, past = model.forward_with_cache(token_B[:, None], positions_BS, ends_BS, past, place, dtype)
        return (past, _most_probable(model, hidden_B1D[:, 0])), token_B

    (past, next_B), written_TB = jax.lax.scan(step, (past, next_B), start + jnp.arange(STRIDE))
    # Whole on every device, so that each process can read it.
    written_BT = jax.lax.with_sharding_constraint(written_TB.T, NamedSharding(mesh, PartitionSpec()))
    return past, next_B, written_BT


def _most_probable(model: Decoder, hidden_BD: Float[Array, "B D"]) -> Int[Array, " B"]:
    return jnp.argmax(model.logits(hidden_BD), axis=-1).astype(jnp.int32)


_prefill = jax.jit(_prefill_of, static_argnums=(0, 5))
_go_on = jax.jit(_go_on_of, static_argnums=(0, 7, 8), donate_argnums=(2,))
