"""Attention: what a layer sees, and the products of queries, keys and values.

What a query may attend to depends on one number per key, its end (see `stages.lm.nn.decoder`), and on its layer's
window.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from stages.lm.nn.config import ModelConfig
from stages.lm.nn.rope import RopeCosSin, rope_cos_sin
from stages.lm.nn.shapes import Array, Bool, Float, Int

# Places of a prefix that are attended to at a time.
PREFIX_BLOCK = 256


class AttentionInputs(NamedTuple):
    """What a layer's attention sees of its tokens: their rotary angles, and which keys each query may attend to."""

    turns_BTH: RopeCosSin
    mask_BTS: Array


class KVCache(NamedTuple):
    """Keys and values of tokens that were read before, in S places; by layer where it stands for a whole decoder."""

    key_BSKH: Array
    value_BSKH: Array

    def update(self, key_BTKH: Array, value_BTKH: Array, start: Array) -> "KVCache":
        """Those of new tokens written at the places from `start` on."""
        pairs = ((self.key_BSKH, key_BTKH), (self.value_BSKH, value_BTKH))
        return KVCache(*(jax.lax.dynamic_update_slice_in_dim(old, new, start, axis=1) for old, new in pairs))


class Prefix(NamedTuple):
    """Keys and values of tokens that all rows begin with, and how many there are; by layer for a whole decoder.

    There are at least as many places as tokens, and a multiple of PREFIX_BLOCK.
    """

    key_1PKH: Array
    value_1PKH: Array
    length: Array


SightOf = Callable[[int | Array], AttentionInputs]


def attend(
    query_BTNH: Float[Array, "B T N H"],
    key_BSKH: Float[Array, "B S K H"],
    value_BSKH: Float[Array, "B S K H"],
    mask_BTS: Bool[Array, "B T S"],
    scale: float,
    cap: float | None = None,
) -> Float[Array, "B T N H"]:
    """Attention of each group of N/K query heads to its key-value head; softmax in float32.

    Queries are multiplied by `scale`; where there is a `cap`, their products with keys stay softly within it.

    Two plain batched products, divided by the softmax's sum at the end, where there is less to divide: on a CPU faster
    than `jax.nn.dot_product_attention` (bench/attention).
    """
    T = query_BTNH.shape[1]
    seen = _seen(_grouped(query_BTNH, key_BSKH.shape[2], scale), key_BSKH, value_BSKH, mask_BTS, cap)
    return _ungrouped(seen.mixed / seen.total.astype(value_BSKH.dtype), T)


def attend_with_prefix(
    prefix: Prefix,
    query_BTNH: Float[Array, "B T N H"],
    key_BTKH: Float[Array, "B T K H"],
    value_BTKH: Float[Array, "B T K H"],
    mask_BTS: Bool[Array, "B T S"],
    scale: float,
    cap: float | None = None,
) -> Float[Array, "B T N H"]:
    """Attention to a prefix's P places and to the T behind them, which together are the mask's S; else as `attend`.

    The queries of all rows meet the prefix's keys in one product: no row has a copy of them.
    """
    (B, T, N, H), K, P = query_BTNH.shape, key_BTKH.shape[2], prefix.key_1PKH.shape[1]
    own = _seen(_grouped(query_BTNH, K, scale), key_BTKH, value_BTKH, mask_BTS[..., P:], cap)
    query_1KRH = _grouped(query_BTNH.reshape(1, B * T, N, H), K, scale)
    before = _seen_of_prefix(query_1KRH, prefix, mask_BTS[..., :P].reshape(1, B * T, P), cap)
    whole = _joined(
        _Seen(*(_ungrouped(part, T) for part in own)),
        _Seen(*(_ungrouped(part, B * T).reshape(B, T, N, -1) for part in before)),
    )
    return (whole.mixed / whole.total).astype(value_BTKH.dtype)


class _Seen(NamedTuple):
    """What queries saw: values mixed by exponentials of logits less the greatest, these summed, and the greatest.

    All as [B, K, R, H or 1], where the R of a key-value head are its query heads' T each, or as [B, T, N, H or 1].
    """

    mixed: Array
    total: Array
    peak: Array


def _seen(query_BKRH: Array, key_BSKH: Array, value_BSKH: Array, mask_BTS: Array, cap: float | None) -> _Seen:
    logits_BKRS = jnp.matmul(query_BKRH, key_BSKH.transpose(0, 2, 3, 1), preferred_element_type=jnp.float32)
    groups = query_BKRH.shape[2] // mask_BTS.shape[1]
    mask_B1RS = jnp.tile(mask_BTS, (1, groups, 1))[:, None]
    logits_BKRS = jnp.where(mask_B1RS, soft_cap(logits_BKRS, cap), jnp.finfo(jnp.float32).min)
    peak_BKR1 = jax.lax.stop_gradient(logits_BKRS.max(axis=-1, keepdims=True))
    shares_BKRS = jnp.exp(logits_BKRS - peak_BKR1)
    mixed_BKRH = jnp.matmul(shares_BKRS.astype(value_BSKH.dtype), value_BSKH.transpose(0, 2, 1, 3))
    return _Seen(mixed_BKRH, shares_BKRS.sum(axis=-1, keepdims=True), peak_BKR1)


def _seen_of_prefix(query_1KRH: Array, prefix: Prefix, mask_1TP: Array, cap: float | None) -> _Seen:
    """Block by block, of those that hold tokens: one program is for prefixes of many lengths."""

    def with_block(index: Array, seen: _Seen) -> _Seen:
        key, value, mask = (
            jax.lax.dynamic_slice_in_dim(array, index * PREFIX_BLOCK, PREFIX_BLOCK, axis)
            for array, axis in ((prefix.key_1PKH, 1), (prefix.value_1PKH, 1), (mask_1TP, 2))
        )
        return _joined(seen, _seen(query_1KRH, key, value, mask, cap))

    mixed = jnp.zeros(query_1KRH.shape, jnp.float32)
    nothing = jnp.zeros_like(mixed[..., :1])
    blocks = -(-prefix.length // PREFIX_BLOCK)
    return jax.lax.fori_loop(0, blocks, with_block, _Seen(mixed, nothing, nothing + jnp.finfo(jnp.float32).min))


def _joined(one: _Seen, other: _Seen) -> _Seen:
    peak = jnp.maximum(one.peak, other.peak)
    less, lesser = jnp.exp(one.peak - peak), jnp.exp(other.peak - peak)
    return _Seen(one.mixed * less + other.mixed * lesser, one.total * less + other.total * lesser, peak)


def _grouped(query_BTNH: Array, K: int, scale: float) -> Array:
    """Scaled queries as [B, K, R, H]: the R of a group are its heads, and of each head all T."""
    B, T, N, H = query_BTNH.shape
    scaled_BTNH = query_BTNH * jnp.asarray(scale, query_BTNH.dtype)
    return scaled_BTNH.reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4).reshape(B, K, N // K * T, H)


def _ungrouped(array_BKRX: Array, T: int) -> Array:
    """The same as [B, T, N, X]."""
    B, K, R, X = array_BKRX.shape
    return array_BKRX.reshape(B, K, R // T, T, X).transpose(0, 3, 1, 2, 4).reshape(B, T, K * R // T, X)


def attention_mask(
    ends_BS: Int[Array, "B S"],
    positions_BT: Int[Array, "B T"],
    positions_BS: Int[Array, "B S"],
    window: int | None = None,
    start: int | Int[Array, ""] = 0,
) -> Bool[Array, "B T S"]:
    """mask[b, t, s]: whether the query at place start + t may attend to the key at place s.

    With a window the key has to stand less than `window` positions back.
    """
    query_T1 = start + jnp.arange(positions_BT.shape[1])[:, None]
    key_1S = jnp.arange(ends_BS.shape[1])[None, :]
    mask_BTS = (key_1S <= query_T1)[None] & (query_T1[None] < ends_BS[:, None, :])
    if window is None:
        return mask_BTS
    return mask_BTS & (positions_BT[:, :, None] - positions_BS[:, None, :] < window)


def layer_spec_indices(config: ModelConfig) -> list[int]:
    """For each layer, which of the distinct kinds it is."""
    distinct = list(dict.fromkeys(config.layer_specs))
    return [distinct.index(kind) for kind in config.layer_specs]


def attention_inputs(positions_BT: Array, mask_of: Callable[[int | None], Array], config: ModelConfig) -> SightOf:
    """What a layer of a kind sees, by the kind's number: computed once, before the layers.

    `mask_of` gives the mask of a window.
    """
    each = [
        AttentionInputs(rope_cos_sin(positions_BT, kind.rope, config.head_width), mask_of(kind.window))
        for kind in dict.fromkeys(config.layer_specs)
    ]
    if len(each) == 1:
        return lambda kind: each[0]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *each)
    return lambda kind: jax.tree.map(lambda array: array[kind], stacked)


def soft_cap(logits: Array, cap: float | None) -> Array:
    """Logits held softly within `cap`, where there is one."""
    return logits if cap is None else cap * jnp.tanh(logits / cap)
