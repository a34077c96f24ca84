"""The decoder, in Flax NNX: every layer's weights stacked along a leading axis L and run with `jax.lax.scan`.

What a position may attend to is given by one number per key, its end: key s is visible from query t when
s <= t < end[s]. A plain sequence has ends past its last token, padding ends where it begins, packed sequences end
where the next one begins, and branches of a tree (the choices of a question) end where their sibling begins.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.config import Llama3Rope, ModelConfig
from stages.lm.linear import Linear
from stages.lm.shapes import Array, Bool, Float, Int
from stages.lm.sharding import split_rows

FLOAT32 = jnp.dtype("float32")


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation, computed in float32."""

    def __init__(self, width: int, epsilon: float):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(width))

    def __call__(self, x: Array) -> Array:
        x32 = x.astype(jnp.float32)
        normal = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + self.epsilon)
        return (normal * self.scale[...].astype(jnp.float32)).astype(x.dtype)


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        D, N, K, H = config.width, config.heads, config.kv_heads, config.head_width
        self.query = Linear((D,), (N, H), config.attention_bias, rngs)
        self.key = Linear((D,), (K, H), config.attention_bias, rngs)
        self.value = Linear((D,), (K, H), config.attention_bias, rngs)
        self.out = Linear((N, H), (D,), config.attention_bias, rngs)

    def __call__(self, x_BTD: Array, turns_BTH: tuple[Array, Array], mask_BTS: Array) -> Array:
        query_BTNH = _rotated(self.query(x_BTD), *turns_BTH)
        key_BSKH = _rotated(self.key(x_BTD), *turns_BTH)
        return self.out(attend(query_BTNH, key_BSKH, self.value(x_BTD), mask_BTS))


class FeedForward(nnx.Module):
    """The gated feed-forward block."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        D, F = config.width, config.feed_forward
        self.gate = Linear((D,), (F,), config.mlp_bias, rngs)
        self.up = Linear((D,), (F,), config.mlp_bias, rngs)
        self.down = Linear((F,), (D,), config.mlp_bias, rngs)

    def __call__(self, x: Array) -> Array:
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


class Layer(nnx.Module):
    """One block: attention and feed-forward, each normalised before and added to the stream."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.width, config.norm_epsilon)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config.width, config.norm_epsilon)
        self.mlp = FeedForward(config, rngs)

    def __call__(self, x_BTD: Array, turns_BTH: tuple[Array, Array], mask_BTS: Array) -> Array:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), turns_BTH, mask_BTS)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Decoder(nnx.Module):
    """A decoder-only language model."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.config = config
        self.embedding = nnx.Param(0.02 * jax.random.normal(rngs.params(), (config.vocab, config.width)))
        self.layers = _stacked_layers(config, rngs)
        self.norm = RMSNorm(config.width, config.norm_epsilon)
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
        mask_BTS = visible(ends_BT)
        turns_BTH = rotations(positions_BT, self.config)
        graph, weights_L = nnx.split(self.layers)

        def layer(x_BTD: Array, weights: Any) -> tuple[Array, None]:
            return split_rows(nnx.merge(graph, weights)(x_BTD, turns_BTH, mask_BTS)), None

        x_BTD = split_rows(self.embedding[...][tokens_BT].astype(dtype))
        x_BTD, _ = jax.lax.scan(jax.checkpoint(layer) if remat else layer, x_BTD, weights_L)
        return self.norm(x_BTD)

    def logits(self, hidden: Float[Array, "*positions D"]) -> Float[Array, "*positions V"]:
        """Next-token logits in float32."""
        head_VD = (self.embedding if self.head is None else self.head)[...].astype(hidden.dtype)
        return jnp.einsum("...D,VD->...V", hidden, head_VD, preferred_element_type=jnp.float32)


def attend(
    query_BTNH: Float[Array, "B T N H"],
    key_BSKH: Float[Array, "B S K H"],
    value_BSKH: Float[Array, "B S K H"],
    mask_BTS: Bool[Array, "B T S"],
) -> Float[Array, "B T N H"]:
    """Attention of each group of N/K query heads to its key-value head; softmax in float32.

    Two plain batched products, divided by the softmax's sum at the end, where there is less to divide: on a CPU faster
    than `jax.nn.dot_product_attention` (bench/attention).
    """
    (B, T, N, H), K = query_BTNH.shape, key_BSKH.shape[2]
    G = N // K
    scaled_BTNH = query_BTNH * jnp.asarray(1.0 / math.sqrt(H), query_BTNH.dtype)
    query_BKRH = scaled_BTNH.reshape(B, T, K, G, H).transpose(0, 2, 3, 1, 4).reshape(B, K, G * T, H)
    logits_BKRS = jnp.matmul(query_BKRH, key_BSKH.transpose(0, 2, 3, 1), preferred_element_type=jnp.float32)
    mask_B1RS = jnp.tile(mask_BTS, (1, G, 1))[:, None]
    logits_BKRS = jnp.where(mask_B1RS, logits_BKRS, jnp.finfo(jnp.float32).min)
    shares_BKRS = jnp.exp(logits_BKRS - jax.lax.stop_gradient(logits_BKRS.max(axis=-1, keepdims=True)))
    mixed_BKRH = jnp.matmul(shares_BKRS.astype(value_BSKH.dtype), value_BSKH.transpose(0, 2, 1, 3))
    mixed_BKRH = mixed_BKRH / shares_BKRS.sum(axis=-1, keepdims=True).astype(value_BSKH.dtype)
    return mixed_BKRH.reshape(B, K, G, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def visible(ends_BT: Int[Array, "B T"]) -> Bool[Array, "B T T"]:
    """mask[b, t, s]: whether query t may attend to key s."""
    index_T = jnp.arange(ends_BT.shape[1])
    query_T1, key_1S = index_T[:, None], index_T[None, :]
    return (key_1S <= query_T1)[None] & (query_T1[None] < ends_BT[:, None, :])


def rotations(positions_BT: Int[Array, "B T"], config: ModelConfig) -> tuple[Array, Array]:
    """Cosines and sines of the rotary angles, [B, T, H/2] each, in float32."""
    exponents_H = jnp.arange(0, config.head_width, 2, dtype=jnp.float32) / config.head_width
    frequencies_H = 1.0 / config.rope_theta**exponents_H
    if config.rope_llama3 is not None:
        frequencies_H = _stretched(frequencies_H, config.rope_llama3)
    angles_BTH = positions_BT[..., None].astype(jnp.float32) * frequencies_H
    return jnp.cos(angles_BTH), jnp.sin(angles_BTH)


def _stretched(frequencies_H: Array, rope: Llama3Rope) -> Array:
    # Wavelengths longer than the original window divided by low_freq_factor are stretched in full, those shorter than
    # it divided by high_freq_factor not at all; between the two, linearly in the number of turns per window.
    turns_H = rope.original_max_positions * frequencies_H / (2 * math.pi)
    kept_H = jnp.clip((turns_H - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0)
    return frequencies_H * (kept_H + (1.0 - kept_H) / rope.factor)


def _rotated(x_BTNH: Array, cosines_BTH: Array, sines_BTH: Array) -> Array:
    first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    cosines, sines = cosines_BTH[:, :, None, :], sines_BTH[:, :, None, :]
    turned = jnp.concatenate((first * cosines - second * sines, second * cosines + first * sines), axis=-1)
    return turned.astype(x_BTNH.dtype)


def _stacked_layers(config: ModelConfig, rngs: nnx.Rngs) -> Layer:
    @nnx.split_rngs(splits=config.layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs: nnx.Rngs) -> Layer:
        return Layer(config, rngs)

    return make(rngs)
