"""The decoder, in Flax NNX: every layer's weights stacked along a leading axis L and run with `jax.lax.scan`.

What a position may attend to is given by one number per key, its end: key s is visible from query t when
s <= t < end[s]. A plain sequence has ends past its last token, padding ends where it begins, packed sequences end
where the next one begins, and branches of a tree (the choices of a question) end where their sibling begins. A layer
with a sliding window also asks how far back the key stands, in positions: along its own branch, wherever rows put it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.architecture import Activation, ModelConfig
from stages.lm.linear import Linear
from stages.lm.rope import Turns, rotated, rotations
from stages.lm.shapes import Array, Bool, Float, Int
from stages.lm.sharding import split_rows

FLOAT32 = jnp.dtype("float32")
ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
}


class Sight(NamedTuple):
    """What a layer's attention sees of its tokens: their rotary angles, and which keys each query may attend to."""

    turns_BTH: Turns
    mask_BTS: Array


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation, computed in float32; a centred scale is stored as its distance from one."""

    def __init__(self, width: int, config: ModelConfig):
        self.epsilon = config.norm_epsilon
        self.centre = 1.0 if config.centred_norms else 0.0
        self.scale = nnx.Param(jnp.full(width, 1.0 - self.centre))

    def __call__(self, x: Array) -> Array:
        x32 = x.astype(jnp.float32)
        normal = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + self.epsilon)
        return (normal * (self.centre + self.scale[...].astype(jnp.float32))).astype(x.dtype)


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        D, N, K, H = config.width, config.heads, config.kv_heads, config.head_width
        self.query = Linear((D,), (N, H), config.qkv_bias, rngs)
        self.key = Linear((D,), (K, H), config.qkv_bias, rngs)
        self.value = Linear((D,), (K, H), config.qkv_bias, rngs)
        self.out = Linear((N, H), (D,), config.out_bias, rngs)
        self.query_norm = RMSNorm(H, config) if config.head_norms else None
        self.key_norm = RMSNorm(H, config) if config.head_norms else None
        self.scale, self.cap = config.query_scale, config.attention_cap

    def __call__(self, x_BTD: Array, sight: Sight) -> Array:
        query_BTNH = rotated(_normalised(self.query_norm, self.query(x_BTD)), sight.turns_BTH)
        key_BSKH = rotated(_normalised(self.key_norm, self.key(x_BTD)), sight.turns_BTH)
        return self.out(attend(query_BTNH, key_BSKH, self.value(x_BTD), sight.mask_BTS, self.scale, self.cap))


class FeedForward(nnx.Module):
    """The gated feed-forward block."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        D, F = config.width, config.feed_forward
        self.gate = Linear((D,), (F,), config.mlp_bias, rngs)
        self.up = Linear((D,), (F,), config.mlp_bias, rngs)
        self.down = Linear((F,), (D,), config.mlp_bias, rngs)
        self.activation = config.activation

    def __call__(self, x: Array) -> Array:
        return self.down(ACTIVATIONS[self.activation](self.gate(x)) * self.up(x))


class Layer(nnx.Module):
    """One block: attention and feed-forward, each normalised before (and after, in some families) and added up."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.width, config)
        self.attention = Attention(config, rngs)
        self.attention_post_norm = RMSNorm(config.width, config) if config.post_norms else None
        self.mlp_norm = RMSNorm(config.width, config)
        self.mlp = FeedForward(config, rngs)
        self.mlp_post_norm = RMSNorm(config.width, config) if config.post_norms else None

    def __call__(self, x_BTD: Array, sight: Sight) -> Array:
        mixed_BTD = self.attention(self.attention_norm(x_BTD), sight)
        x_BTD = x_BTD + _normalised(self.attention_post_norm, mixed_BTD)
        return x_BTD + _normalised(self.mlp_post_norm, self.mlp(self.mlp_norm(x_BTD)))


class Decoder(nnx.Module):
    """A decoder-only language model."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.config = config
        self.embedding = nnx.Param(0.02 * jax.random.normal(rngs.params(), (config.vocab, config.width)))
        self.layers = _stacked_layers(config, rngs)
        self.norm = RMSNorm(config.width, config)
        self.head = (
            None if config.tied else nnx.Param(0.02 * jax.random.normal(rngs.params(), (config.vocab, config.width)))
        )

    def __call__(
        self,
        tokens_BT: Int[Array, "B T"],
        positions_BT: Int[Array, "B T"],
        ends_BT: Int[Array, "B T"],
        dtype: jnp.dtype = FLOAT32,
        remat: bool = False,
    ) -> Float[Array, "B T D"]:
        """Final hidden states, computed in `dtype`; `remat` recomputes each layer in the backward pass."""
        sight_of = sights(positions_BT, ends_BT, self.config)
        graph, weights_L = nnx.split(self.layers)

        def layer(x_BTD: Array, own: tuple[Any, Array]) -> tuple[Array, None]:
            weights, kind = own
            return split_rows(nnx.merge(graph, weights)(x_BTD, sight_of(kind))), None

        x_BTD = split_rows(self.embedding[...][tokens_BT].astype(dtype))
        if self.config.embedding_scale != 1.0:
            x_BTD = x_BTD * jnp.asarray(self.config.embedding_scale, dtype)
        kinds_L = jnp.array(kind_numbers(self.config), jnp.int32)
        x_BTD, _ = jax.lax.scan(jax.checkpoint(layer) if remat else layer, x_BTD, (weights_L, kinds_L))
        return self.norm(x_BTD)

    def logits(self, hidden: Float[Array, "*positions D"]) -> Float[Array, "*positions V"]:
        """Next-token logits in float32."""
        head_VD = (self.embedding if self.head is None else self.head)[...].astype(hidden.dtype)
        logits = jnp.einsum("...D,VD->...V", hidden, head_VD, preferred_element_type=jnp.float32)
        return _capped(logits, self.config.logit_cap)


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
    logits_BKRS = jnp.where(mask_B1RS, _capped(logits_BKRS, cap), jnp.finfo(jnp.float32).min)
    shares_BKRS = jnp.exp(logits_BKRS - jax.lax.stop_gradient(logits_BKRS.max(axis=-1, keepdims=True)))
    mixed_BKRH = jnp.matmul(shares_BKRS.astype(value_BSKH.dtype), value_BSKH.transpose(0, 2, 1, 3))
    mixed_BKRH = mixed_BKRH / shares_BKRS.sum(axis=-1, keepdims=True).astype(value_BSKH.dtype)
    return mixed_BKRH.reshape(B, K, G, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def visible(
    ends_BT: Int[Array, "B T"], positions_BT: Int[Array, "B T"], window: int | None = None
) -> Bool[Array, "B T T"]:
    """mask[b, t, s]: whether query t may attend to key s, which stands less than `window` positions back."""
    index_T = jnp.arange(ends_BT.shape[1])
    query_T1, key_1S = index_T[:, None], index_T[None, :]
    mask_BTS = (key_1S <= query_T1)[None] & (query_T1[None] < ends_BT[:, None, :])
    if window is None:
        return mask_BTS
    return mask_BTS & (positions_BT[:, :, None] - positions_BT[:, None, :] < window)


def kind_numbers(config: ModelConfig) -> list[int]:
    """For each layer, which of the distinct kinds it is."""
    distinct = list(dict.fromkeys(config.layer_kinds))
    return [distinct.index(kind) for kind in config.layer_kinds]


def sights(positions_BT: Array, ends_BT: Array, config: ModelConfig) -> Callable[[int | Array], Sight]:
    """What a layer of a kind sees, by the kind's number: computed once, before the layers."""
    each = [
        Sight(rotations(positions_BT, kind.rope, config.head_width), visible(ends_BT, positions_BT, kind.window))
        for kind in dict.fromkeys(config.layer_kinds)
    ]
    if len(each) == 1:
        return lambda kind: each[0]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *each)
    return lambda kind: jax.tree.map(lambda array: array[kind], stacked)


def _normalised(norm: RMSNorm | None, x: Array) -> Array:
    return x if norm is None else norm(x)


def _capped(logits: Array, cap: float | None) -> Array:
    return logits if cap is None else cap * jnp.tanh(logits / cap)


def _stacked_layers(config: ModelConfig, rngs: nnx.Rngs) -> Layer:
    @nnx.split_rngs(splits=config.layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs: nnx.Rngs) -> Layer:
        return Layer(config, rngs)

    return make(rngs)
