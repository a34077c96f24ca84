"""Batched greedy decoding with a KV cache.

Prompts are padded on the left to a common length, so that all rows of a batch write their next token at the same
position. A prompt always runs in the same compiled programs with the same number of rows, as in
`stages.lm.scoring.forward`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
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

# Tokens of a batch, prompts and answers together; with the length it determines the number of rows.
BATCH_TOKENS = 4_096
# Prompts whose lengths differ by less share a compiled program.
LENGTH_STEP = 64
# Tokens that are generated between two checks whether all answers of the batch are complete.
STRIDE = 16


class Prompt(NamedTuple):
    """Token ids to continue, and a function of the generated ids: whether the last stride completed the answer."""

    ids: tuple[int, ...]
    is_complete: Callable[[Sequence[int]], bool]


class Generated(NamedTuple):
    """The results of a batch: indices of its prompts, and the token ids that follow each."""

    prompts: tuple[int, ...]
    ids: list[list[int]]


def generate(
    model: Decoder, prompts: Sequence[Prompt], max_new_tokens: int, dtype: jnp.dtype, mesh: Mesh
) -> Iterator[Generated]:
    """Continues each prompt until `is_complete` or `max_new_tokens`, batch by batch.

    Of equal logits the first token counts. Tokens are generated in strides, until all answers of the batch are
    complete: the caller cuts each answer where it ends.
    """
    graph, state = nnx.split(model)
    new_tokens = -(-max_new_tokens // STRIDE) * STRIDE
    with jax.set_mesh(mesh):
        for length, indices in _batches(prompts, new_tokens, mesh.shape[FSDP]):
            batch = [prompts[index] for index in indices]
            yield Generated(indices, _generate_batch(graph, state, batch, length, new_tokens, dtype, mesh))


def _batches(prompts: Sequence[Prompt], new_tokens: int, groups: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yields a padded length and the indices of the prompts that are padded to it, the longest first."""
    by_length: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_length.setdefault(-(-len(prompt.ids) // LENGTH_STEP) * LENGTH_STEP, []).append(index)
    for length, indices in sorted(by_length.items(), reverse=True):
        size = _rows(length, new_tokens) * groups
        for start in range(0, len(indices), size):
            yield length, tuple(indices[start : start + size])


def _rows(length: int, new_tokens: int) -> int:
    """Rows of a batch, for each group of devices."""
    return max(1, BATCH_TOKENS // (length + new_tokens))


def _generate_batch(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    prompts: Sequence[Prompt],
    length: int,
    new_tokens: int,
    dtype: jnp.dtype,
    mesh: Mesh,
) -> list[list[int]]:
    by_rows = NamedSharding(mesh, PartitionSpec(FSDP))
    rows = _rows(length, new_tokens) * mesh.shape[FSDP]
    padded = _left_padded(prompts, rows, length, new_tokens)
    tokens_BT, positions_BS, ends_BS = (put(array, by_rows) for array in padded)
    cache, next_B = _prefill(graph, state, tokens_BT, positions_BS, ends_BS, dtype=dtype)
    generated: list[list[int]] = [[] for _ in prompts]
    running = [*range(len(prompts))]
    for start in range(length, length + new_tokens, STRIDE):
        cache, next_B, new_BT = _decode_stride(
            graph, state, cache, next_B, jnp.int32(start), positions_BS, ends_BS, dtype=dtype, mesh=mesh
        )
        for ids, new in zip(generated, np.asarray(new_BT).tolist(), strict=False):
            ids += new
        running = [row for row in running if not prompts[row].is_complete(generated[row])]
        if not running:
            break
    return generated


def _left_padded(prompts: Sequence[Prompt], rows: int, length: int, new_tokens: int) -> tuple[np.ndarray, ...]:
    """Tokens of the prompts, right-aligned in rows of `length`; positions and ends of these and `new_tokens` more."""
    tokens_BT = np.zeros((rows, length), np.int32)
    positions_BS = np.zeros((rows, length + new_tokens), np.int32)
    # Padding attends only to itself and is masked for all others.
    ends_BS = np.tile(np.arange(1, length + new_tokens + 1, dtype=np.int32), (rows, 1))
    for row, prompt in enumerate(prompts):
        begin = length - len(prompt.ids)
        tokens_BT[row, begin:] = prompt.ids
        positions_BS[row, begin:] = np.arange(len(prompt.ids) + new_tokens)
        ends_BS[row, begin:] = length + new_tokens
    return tokens_BT, positions_BS, ends_BS


@partial(jax.jit, static_argnames=("graph", "dtype"))
def _prefill(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    tokens_BT: Int[Array, "B T"],
    positions_BS: Int[Array, "B S"],
    ends_BS: Int[Array, "B S"],
    dtype: jnp.dtype,
) -> tuple[KVCache, Int[Array, " B"]]:
    """The cache with the prompts' keys and values, and the first token after each prompt."""
    model = nnx.merge(graph, state)
    rows, capacity = positions_BS.shape
    cache = model.init_cache(rows, capacity, dtype)
    hidden_BTD, cache = model.forward_with_cache(tokens_BT, positions_BS, ends_BS, cache, jnp.int32(0), dtype)
    return cache, _most_probable(model, hidden_BTD[:, -1])


@partial(jax.jit, static_argnames=("graph", "dtype", "mesh"), donate_argnames="cache")
def _decode_stride(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    cache: KVCache,
    next_B: Int[Array, " B"],
    start: Int[Array, ""],
    positions_BS: Int[Array, "B S"],
    ends_BS: Int[Array, "B S"],
    dtype: jnp.dtype,
    mesh: Mesh,
) -> tuple[KVCache, Int[Array, " B"], Int[Array, "B T"]]:
    """Decodes STRIDE tokens, of which the first is `next_B`; also returns the token after them."""
    model = nnx.merge(graph, state)

    def step(carry: tuple[KVCache, Array], index: Array) -> tuple[tuple[KVCache, Array], Array]:
        cache, token_B = carry
        hidden_B1D, cache = model.forward_with_cache(token_B[:, None], positions_BS, ends_BS, cache, index, dtype)
        return (cache, _most_probable(model, hidden_B1D[:, 0])), token_B

    (cache, next_B), new_TB = jax.lax.scan(step, (cache, next_B), start + jnp.arange(STRIDE))
    # Replicated on every device, so that each process can read it.
    new_BT = jax.lax.with_sharding_constraint(new_TB.T, NamedSharding(mesh, PartitionSpec()))
    return cache, next_B, new_BT


def _most_probable(model: Decoder, hidden_BD: Float[Array, "B D"]) -> Int[Array, " B"]:
    return jnp.argmax(model.logits(hidden_BD), axis=-1).astype(jnp.int32)
