"""Greedy decoding with a KV cache: the most probable token again and again, for many prompts at once.

Prompts are padded on their left to a common length, so that all of a batch write their next token at one place. A
prompt always meets the same compiled programs and the same number of rows, as in `stages.lm.scoring.forward`.
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

# Places of a batch's rows, prompts and answers together; with the shape it decides the number of rows.
BATCH_PLACES = 4_096
# Prompts whose lengths differ by less share a compiled program.
LENGTH_STEP = 64
# Tokens that are generated before each check whether any answer of the batch goes on.
STRIDE = 16


class Prompt(NamedTuple):
    """Token ids to continue, and a function that says of the generated ids whether the last stride completed them."""

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

    Of equal logits the first token counts. Tokens come in strides, and go on while another answer of the batch is not
    complete: the caller cuts each where it ends.
    """
    graph, state = nnx.split(model)
    new_tokens = -(-max_new_tokens // STRIDE) * STRIDE
    with jax.set_mesh(mesh):
        for length, indices in _batches(prompts, new_tokens, mesh.shape[FSDP]):
            own = [prompts[index] for index in indices]
            yield Generated(indices, _generate_batch(graph, state, own, length, new_tokens, dtype, mesh))


def _batches(prompts: Sequence[Prompt], new_tokens: int, groups: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Prompts of about equal length, the longest first; each with the length that they are padded to."""
    by_length: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_length.setdefault(-(-len(prompt.ids) // LENGTH_STEP) * LENGTH_STEP, []).append(index)
    for length, indices in sorted(by_length.items(), reverse=True):
        size = _rows(length, new_tokens) * groups
        for start in range(0, len(indices), size):
            yield length, tuple(indices[start : start + size])


def _rows(length: int, new_tokens: int) -> int:
    return max(1, BATCH_PLACES // (length + new_tokens))


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
    tokens_BT, *places = (put(array, by_rows) for array in _left_padded(prompts, rows, length, new_tokens))
    cache, next_B = _prefill(graph, state, tokens_BT, *places, dtype=dtype)
    generated: list[list[int]] = [[] for _ in prompts]
    running = [*range(len(prompts))]
    for start in range(length, length + new_tokens, STRIDE):
        cache, next_B, new_BT = _decode_stride(
            graph, state, cache, next_B, jnp.int32(start), *places, dtype=dtype, mesh=mesh
        )
        for ids, new in zip(generated, np.asarray(new_BT).tolist(), strict=False):
            ids += new
        running = [row for row in running if not prompts[row].is_complete(generated[row])]
        if not running:
            break
    return generated


def _left_padded(prompts: Sequence[Prompt], rows: int, length: int, new_tokens: int) -> tuple[np.ndarray, ...]:
    """Tokens of the prompts, right-aligned in `length` places; positions and ends of these and `new_tokens` more."""
    tokens = np.zeros((rows, length), np.int32)
    positions = np.zeros((rows, length + new_tokens), np.int32)
    # Padding attends only to itself and is masked for all others.
    ends = np.tile(np.arange(1, length + new_tokens + 1, dtype=np.int32), (rows, 1))
    for row, prompt in enumerate(prompts):
        begin = length - len(prompt.ids)
        tokens[row, begin:] = prompt.ids
        positions[row, begin:] = np.arange(len(prompt.ids) + new_tokens)
        ends[row, begin:] = length + new_tokens
    return tokens, positions, ends


@partial(jax.jit, static_argnames=("graph", "dtype"))
def _prefill(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    tokens_BT: Int[Array, "B T"],
    positions_BS: Int[Array, "B S"],
    ends_BS: Int[Array, "B S"],
    dtype: jnp.dtype,
) -> tuple[KVCache, Int[Array, " B"]]:
    model = nnx.merge(graph, state)
    rows, places = positions_BS.shape
    cache = model.init_cache(rows, places, dtype)
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

    def step(carry: tuple[KVCache, Array], place: Array) -> tuple[tuple[KVCache, Array], Array]:
        cache, token_B = carry
        hidden_B1D, cache = model.forward_with_cache(token_B[:, None], positions_BS, ends_BS, cache, place, dtype)
        return (cache, _most_probable(model, hidden_B1D[:, 0])), token_B

    (cache, next_B), new_TB = jax.lax.scan(step, (cache, next_B), start + jnp.arange(STRIDE))
    # Replicated on every device, so that each process can read it.
    new_BT = jax.lax.with_sharding_constraint(new_TB.T, NamedSharding(mesh, PartitionSpec()))
    return cache, next_B, new_BT


def _most_probable(model: Decoder, hidden_BD: Float[Array, "B D"]) -> Int[Array, " B"]:
    return jnp.argmax(model.logits(hidden_BD), axis=-1).astype(jnp.int32)
