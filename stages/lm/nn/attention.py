"""Attention: the mask, the KV cache, shared prefixes, and an online softmax over blocks of keys.

Which keys a query may attend to depends on the interval mask (`ends`, see `stages.lm.nn.decoder`) and on the layer's
window.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from stages.lm.nn.config import ModelConfig
from stages.lm.nn.rope import RopeCosSin, rope_cos_sin
from stages.lm.nn.shapes import Array, Bool, Float, Int

# How many keys of a prefix one step of the online softmax reads.
PREFIX_BLOCK = 256


class AttentionInputs(NamedTuple):
    """Inputs of a layer's attention besides hidden states: rotary angles, and which keys each query may attend to."""

    rope_BTH: RopeCosSin
    mask_BTS: Array


class KVCache(NamedTuple):
    """Keys and values of S positions, written as tokens are read; a decoder's cache has a leading axis L."""

    key_BSKH: Array
    value_BSKH: Array

    def update(self, key_BTKH: Array, value_BTKH: Array, start: Array) -> "KVCache":
        """The cache with the keys and values of new tokens written at the indices from `start` on."""
        pairs = ((self.key_BSKH, key_BTKH), (self.value_BSKH, value_BTKH))
        return KVCache(*(jax.lax.dynamic_update_slice_in_dim(old, new, start, axis=1) for old, new in pairs))


class Prefix(NamedTuple):
    """Keys and values of the tokens that all rows begin with, and their number; a decoder's has a leading axis L.

    The capacity P is at least the number of tokens, and a multiple of PREFIX_BLOCK.
    """

    key_1PKH: Array
    value_1PKH: Array
    length: Array


def attend(
    query_BTNH: Float[Array, "B T N H"],
    key_BSKH: Float[Array, "B S K H"],
    value_BSKH: Float[Array, "B S K H"],
    mask_BTS: Bool[Array, "B T S"],
    scale: float,
    softcap: float | None = None,
) -> Float[Array, "B T N H"]:
    """Attention of each group of N/K query heads to its key-value head; softmax in float32.

    Queries are multiplied by `scale`; `softcap`, if given, bounds their products with keys.

    It is two batched products. The division by the softmax's denominator comes last, because the output has fewer
    elements than the attention weights. On a CPU this is faster than `jax.nn.dot_product_attention` (bench/attention).
    """
    query_BKMH = _grouped(query_BTNH, key_BSKH.shape[2], scale)
    state = _block_attention(query_BKMH, key_BSKH, value_BSKH, mask_BTS, softcap)
    return _ungrouped(state.acc_BKMH / state.denom_BKM1.astype(value_BSKH.dtype), query_BTNH.shape[1])


def attend_with_prefix(
    prefix: Prefix,
    query_BTNH: Float[Array, "B T N H"],
    key_BTKH: Float[Array, "B T K H"],
    value_BTKH: Float[Array, "B T K H"],
    mask_BTS: Bool[Array, "B T S"],
    scale: float,
    softcap: float | None = None,
) -> Float[Array, "B T N H"]:
    """Attention to a prefix's P keys and to the T keys after it, where the mask's S is P + T; otherwise like `attend`.

    One product multiplies the queries of all rows with the prefix's keys, so no row needs a copy of them.
    """
    (B, T, N, H), K, P = query_BTNH.shape, key_BTKH.shape[2], prefix.key_1PKH.shape[1]
    own = _block_attention(_grouped(query_BTNH, K, scale), key_BTKH, value_BTKH, mask_BTS[..., P:], softcap)
    query_1KMH = _grouped(query_BTNH.reshape(1, B * T, N, H), K, scale)
    shared = _prefix_attention(query_1KMH, prefix, mask_BTS[..., :P].reshape(1, B * T, P), softcap)
    state = _merged(own, SoftmaxState(*(_split_into_rows(part, B, T) for part in shared)))
    return _ungrouped(state.acc_BKMH / state.denom_BKM1, T).astype(value_BTKH.dtype)


class SoftmaxState(NamedTuple):
    """The state of an online softmax: the unnormalised output, the denominator, and the largest logit of each query.

    Two states over different keys merge into the state over all of them (Milakov & Gimelshein 2018, arXiv 1805.02867).
    """

    acc_BKMH: Array
    denom_BKM1: Array
    row_max_BKM1: Array


def _block_attention(
    query_BKMH: Array, key_BSKH: Array, value_BSKH: Array, mask_BTS: Array, softcap: float | None
) -> SoftmaxState:
    logits_BKMS = jnp.matmul(query_BKMH, key_BSKH.transpose(0, 2, 3, 1), preferred_element_type=jnp.float32)
    heads = query_BKMH.shape[2] // mask_BTS.shape[1]
    mask_B1MS = jnp.tile(mask_BTS, (1, heads, 1))[:, None]
    logits_BKMS = jnp.where(mask_B1MS, soft_cap(logits_BKMS, softcap), jnp.finfo(jnp.float32).min)
    row_max_BKM1 = jax.lax.stop_gradient(logits_BKMS.max(axis=-1, keepdims=True))
    exp_BKMS = jnp.exp(logits_BKMS - row_max_BKM1)
    acc_BKMH = jnp.matmul(exp_BKMS.astype(value_BSKH.dtype), value_BSKH.transpose(0, 2, 1, 3))
    return SoftmaxState(acc_BKMH, exp_BKMS.sum(axis=-1, keepdims=True), row_max_BKM1)


def _prefix_attention(query_1KMH: Array, prefix: Prefix, mask_1TP: Array, softcap: float | None) -> SoftmaxState:
    """Attention to a prefix, one block of keys at a time; it skips empty blocks, so one program serves all lengths."""

    def add_block(index: Array, state: SoftmaxState) -> SoftmaxState:
        key, value, mask = (
            jax.lax.dynamic_slice_in_dim(array, index * PREFIX_BLOCK, PREFIX_BLOCK, axis)
            for array, axis in ((prefix.key_1PKH, 1), (prefix.value_1PKH, 1), (mask_1TP, 2))
        )
        return _merged(state, _block_attention(query_1KMH, key, value, mask, softcap))

    acc = jnp.zeros(query_1KMH.shape, jnp.float32)
    denom = jnp.zeros_like(acc[..., :1])
    empty = SoftmaxState(acc, denom, denom + jnp.finfo(jnp.float32).min)
    blocks = -(-prefix.length // PREFIX_BLOCK)
    return jax.lax.fori_loop(0, blocks, add_block, empty)


def _merged(first: SoftmaxState, second: SoftmaxState) -> SoftmaxState:
    row_max = jnp.maximum(first.row_max_BKM1, second.row_max_BKM1)
    alpha, beta = jnp.exp(first.row_max_BKM1 - row_max), jnp.exp(second.row_max_BKM1 - row_max)
    acc = first.acc_BKMH * alpha + second.acc_BKMH * beta
    return SoftmaxState(acc, first.denom_BKM1 * alpha + second.denom_BKM1 * beta, row_max)


def _grouped(query_BTNH: Array, K: int, scale: float) -> Array:
    """Scaled queries as [B, K, M, H]: the M queries of a key-value head are its N/K heads, T positions each."""
    B, T, N, H = query_BTNH.shape
    scaled_BTNH = query_BTNH * jnp.asarray(scale, query_BTNH.dtype)
    return scaled_BTNH.reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4).reshape(B, K, N // K * T, H)


def _ungrouped(array_BKMX: Array, T: int) -> Array:
    """Undoes the grouping of `_grouped`: [B, K, M, X] becomes [B, T, N, X]."""
    B, K, M, X = array_BKMX.shape
    return array_BKMX.reshape(B, K, M // T, T, X).transpose(0, 3, 1, 2, 4).reshape(B, T, K * M // T, X)


def _split_into_rows(array_1KMX: Array, B: int, T: int) -> Array:
    """Splits a result for the positions of all B rows, [1, K, M, X], into rows: [B, K, M / B, X]."""
    _, K, M, X = array_1KMX.shape
    heads = M // (B * T)
    return array_1KMX.reshape(K, heads, B, T, X).transpose(2, 0, 1, 3, 4).reshape(B, K, heads * T, X)


def attention_mask(
    ends_BS: Int[Array, "B S"],
    positions_BT: Int[Array, "B T"],
    positions_BS: Int[Array, "B S"],
    window: int | None = None,
    start: int | Int[Array, ""] = 0,
) -> Bool[Array, "B T S"]:
    """The interval mask: mask[b, t, s] says whether the query at index start + t may attend to the key at index s.

    With a window the key must also be less than `window` positions back.
    """
    query_T1 = start + jnp.arange(positions_BT.shape[1])[:, None]
    key_1S = jnp.arange(ends_BS.shape[1])[None, :]
    mask_BTS = (key_1S <= query_T1)[None] & (query_T1[None] < ends_BS[:, None, :])
    if window is None:
        return mask_BTS
    return mask_BTS & (positions_BT[:, :, None] - positions_BS[:, None, :] < window)


def layer_spec_indices(config: ModelConfig) -> list[int]:
    """For each layer, the index of its spec among the distinct specs."""
    distinct = list(dict.fromkeys(config.layer_specs))
    return [distinct.index(spec) for spec in config.layer_specs]


def attention_inputs(
    positions_BT: Array, mask_of: Callable[[int | None], Array], config: ModelConfig
) -> Callable[[int | Array], AttentionInputs]:
    """A function from a spec's index to the attention inputs of layers with that spec, computed once for all layers.

    `mask_of` returns the mask for a window.
    """
    inputs = [
        AttentionInputs(rope_cos_sin(positions_BT, spec.rope, config.head_width), mask_of(spec.window))
        for spec in dict.fromkeys(config.layer_specs)
    ]
    if len(inputs) == 1:
        return lambda index: inputs[0]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *inputs)
    return lambda index: jax.tree.map(lambda array: array[index], stacked)


def soft_cap(logits: Array, cap: float | None) -> Array:
    """Logits bounded smoothly to (-cap, cap); unchanged if `cap` is None (Gemma 2)."""
    return logits if cap is None else cap * jnp.tanh(logits / cap)
