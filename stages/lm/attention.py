"""Attention: what a layer sees, and the products of queries, keys and values.

What a query may attend to is said by one number per key, its end (see `stages.lm.model`), and by its layer's window.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from stages.lm.architecture import ModelConfig
from stages.lm.rope import Turns, rotations
from stages.lm.shapes import Array, Bool, Float, Int


class Sight(NamedTuple):
    """What a layer's attention sees of its tokens: their rotary angles, and which keys each query may attend to."""

    turns_BTH: Turns
    mask_BTS: Array


class Past(NamedTuple):
    """Keys and values of tokens that were read before, in S places; by layer where it stands for a whole decoder."""

    key_BSKH: Array
    value_BSKH: Array

    def with_new(self, key_BTKH: Array, value_BTKH: Array, start: Array) -> "Past":
        """Those of new tokens written at the places from `start` on."""
        pairs = ((self.key_BSKH, key_BTKH), (self.value_BSKH, value_BTKH))
        return Past(*(jax.lax.dynamic_update_slice_in_dim(old, new, start, axis=1) for old, new in pairs))


SightOf = Callable[[int | Array], Sight]


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
    (B, T, N, H), K = query_BTNH.shape, key_BSKH.shape[2]
    G = N // K
    scaled_BTNH = query_BTNH * jnp.asarray(scale, query_BTNH.dtype)
    query_BKRH = scaled_BTNH.reshape(B, T, K, G, H).transpose(0, 2, 3, 1, 4).reshape(B, K, G * T, H)
    logits_BKRS = jnp.matmul(query_BKRH, key_BSKH.transpose(0, 2, 3, 1), preferred_element_type=jnp.float32)
    mask_B1RS = jnp.tile(mask_BTS, (1, G, 1))[:, None]
    logits_BKRS = jnp.where(mask_B1RS, capped(logits_BKRS, cap), jnp.finfo(jnp.float32).min)
    shares_BKRS = jnp.exp(logits_BKRS - jax.lax.stop_gradient(logits_BKRS.max(axis=-1, keepdims=True)))
    mixed_BKRH = jnp.matmul(shares_BKRS.astype(value_BSKH.dtype), value_BSKH.transpose(0, 2, 1, 3))
    mixed_BKRH = mixed_BKRH / shares_BKRS.sum(axis=-1, keepdims=True).astype(value_BSKH.dtype)
    return mixed_BKRH.reshape(B, K, G, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def visible(
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


def kind_numbers(config: ModelConfig) -> list[int]:
    """For each layer, which of the distinct kinds it is."""
    distinct = list(dict.fromkeys(config.layer_kinds))
    return [distinct.index(kind) for kind in config.layer_kinds]


def sights(positions_BT: Array, mask_of: Callable[[int | None], Array], config: ModelConfig) -> SightOf:
    """What a layer of a kind sees, by the kind's number: computed once, before the layers.

    `mask_of` gives the mask of a window.
    """
    each = [
        Sight(rotations(positions_BT, kind.rope, config.head_width), mask_of(kind.window))
        for kind in dict.fromkeys(config.layer_kinds)
    ]
    if len(each) == 1:
        return lambda kind: each[0]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *each)
    return lambda kind: jax.tree.map(lambda array: array[kind], stacked)


def capped(logits: Array, cap: float | None) -> Array:
    """Logits held softly within `cap`, where there is one."""
    return logits if cap is None else cap * jnp.tanh(logits / cap)
