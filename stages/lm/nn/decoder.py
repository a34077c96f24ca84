"""The decoder, in Flax NNX: every layer's weights stacked along a leading axis L and run with `jax.lax.scan`.

What a position may attend to is given by one number per key, its end: key s is visible from query t when
s <= t < end[s]. A plain sequence has ends past its last token, padding ends where it begins, packed sequences end
where the next one begins, and branches of a tree (the choices of a question) end where their sibling begins. A layer
with a sliding window also asks how far back the key stands, in positions: along its own branch, wherever rows put it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.nn.attention import (
    AttentionInputs,
    KVCache,
    Prefix,
    SightOf,
    attend,
    attend_with_prefix,
    attention_inputs,
    attention_mask,
    layer_spec_indices,
    soft_cap,
)
from stages.lm.nn.config import Activation, ModelConfig
from stages.lm.nn.linear import Linear
from stages.lm.nn.rope import apply_rope
from stages.lm.nn.shapes import Array, Float, Int
from stages.lm.nn.sharding import split_rows

# What was read before the tokens of a call.
Before = KVCache | Prefix | None

FLOAT32 = jnp.dtype("float32")
POLICIES = jax.checkpoint_policies
ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
}


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation, computed in float32; a centred scale is stored as its distance from one."""

    def __init__(self, width: int, config: ModelConfig):
        self.epsilon = config.norm_epsilon
        self.centre = 1.0 if config.zero_centered_norm else 0.0
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
        self.query_norm = RMSNorm(H, config) if config.qk_norm else None
        self.key_norm = RMSNorm(H, config) if config.qk_norm else None
        self.scale, self.cap = config.query_scale, config.attn_logit_softcap

    def __call__(
        self, x_BTD: Array, sight: AttentionInputs, before: Before, start: Array
    ) -> tuple[Array, KVCache | None]:
        query_BTNH = apply_rope(_normalised(self.query_norm, self.query(x_BTD)), sight.turns_BTH)
        key_BSKH = apply_rope(_normalised(self.key_norm, self.key(x_BTD)), sight.turns_BTH)
        value_BSKH = self.value(x_BTD)
        how = (sight.mask_BTS, self.scale, self.cap)
        if isinstance(before, Prefix):
            return self.out(attend_with_prefix(before, query_BTNH, key_BSKH, value_BSKH, *how)), None
        if before is not None:
            before = before.update(key_BSKH, value_BSKH, start)
            key_BSKH, value_BSKH = before
        return self.out(attend(query_BTNH, key_BSKH, value_BSKH, *how)), before


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
        self.attention_post_norm = RMSNorm(config.width, config) if config.post_norm else None
        self.mlp_norm = RMSNorm(config.width, config)
        self.mlp = FeedForward(config, rngs)
        self.mlp_post_norm = RMSNorm(config.width, config) if config.post_norm else None

    def __call__(
        self, x_BTD: Array, sight: AttentionInputs, before: Before, start: Array
    ) -> tuple[Array, KVCache | None]:
        mixed_BTD, past = self.attention(self.attention_norm(x_BTD), sight, before, start)
        x_BTD = x_BTD + _normalised(self.attention_post_norm, mixed_BTD)
        return x_BTD + _normalised(self.mlp_post_norm, self.mlp(self.mlp_norm(x_BTD))), past


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
        """Final hidden states, computed in `dtype`.

        The backward pass has what each product with weights gave, and computes the rest again (attention, norms,
        activations: to keep them takes longer on a CPU); with `remat` it computes those products again, too.
        """
        mask_of = partial(attention_mask, ends_BT, positions_BT, positions_BT)
        return self._hidden(
            tokens_BT, attention_inputs(positions_BT, mask_of, self.config), None, jnp.int32(0), dtype, remat
        )[0]

    def forward_with_cache(
        self,
        tokens_BT: Int[Array, "B T"],
        positions_BS: Int[Array, "B S"],
        ends_BS: Int[Array, "B S"],
        past_L: KVCache,
        start: Int[Array, ""],
        dtype: jnp.dtype = FLOAT32,
    ) -> tuple[Float[Array, "B T D"], KVCache]:
        """Final hidden states of the tokens at the places from `start` on, after those that were read before.

        `positions_BS` and `ends_BS` are of all S places, read or not; also returns `past_L` with the new ones.
        """
        positions_BT = jax.lax.dynamic_slice_in_dim(positions_BS, start, tokens_BT.shape[1], axis=1)
        mask_of = partial(attention_mask, ends_BS, positions_BT, positions_BS, start=start)
        hidden_BTD, past = self._hidden(
            tokens_BT, attention_inputs(positions_BT, mask_of, self.config), past_L, start, dtype, remat=False
        )
        assert past is not None
        return hidden_BTD, past

    def forward_with_prefix(
        self,
        prefix_L: Prefix,
        tokens_BT: Int[Array, "B T"],
        positions_BT: Int[Array, "B T"],
        ends_BT: Int[Array, "B T"],
        dtype: jnp.dtype = FLOAT32,
    ) -> Float[Array, "B T D"]:
        """Final hidden states of tokens that stand behind a prefix; their ends are counted from its end."""
        B, T = tokens_BT.shape
        places = prefix_L.key_1PKH.shape[2]
        place_BP = jnp.broadcast_to(jnp.arange(places), (B, places))
        positions_BS = jnp.concatenate((place_BP, positions_BT), axis=1)
        seen_BP = jnp.where(place_BP < prefix_L.length[0], places + T, 0)
        ends_BS = jnp.concatenate((seen_BP, places + ends_BT), axis=1)
        mask_of = partial(attention_mask, ends_BS, positions_BT, positions_BS, start=places)
        sight_of = attention_inputs(positions_BT, mask_of, self.config)
        return self._hidden(tokens_BT, sight_of, prefix_L, jnp.int32(0), dtype, remat=False)[0]

    def init_cache(self, rows: int, places: int, dtype: jnp.dtype = FLOAT32) -> KVCache:
        """The past, by layer, of `rows` sequences in which nothing was read yet."""
        shape = (self.config.layers, rows, places, self.config.kv_heads, self.config.head_width)
        return KVCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def _hidden(
        self, tokens_BT: Array, sight_of: SightOf, before_L: Before, start: Array, dtype: jnp.dtype, remat: bool
    ) -> tuple[Array, KVCache | None]:
        graph, weights_L = nnx.split(self.layers)

        def layer(x_BTD: Array, own: tuple[Any, Array, Before]) -> tuple[Array, KVCache | None]:
            weights, kind, before = own
            x_BTD, past = nnx.merge(graph, weights)(x_BTD, sight_of(kind), before, start)
            return split_rows(x_BTD), past

        x_BTD = split_rows(self.embedding[...][tokens_BT].astype(dtype))
        if self.config.embedding_scale != 1.0:
            x_BTD = x_BTD * jnp.asarray(self.config.embedding_scale, dtype)
        kinds_L = jnp.array(layer_spec_indices(self.config), jnp.int32)
        kept = POLICIES.nothing_saveable if remat else POLICIES.dots_with_no_batch_dims_saveable
        # A scan keeps the compiler from undoing it, and needs no barriers for that.
        layer = jax.checkpoint(layer, policy=kept, prevent_cse=False)
        x_BTD, past_L = jax.lax.scan(layer, x_BTD, (weights_L, kinds_L, before_L))
        return self.norm(x_BTD), past_L

    def logits(self, hidden: Float[Array, "*positions D"]) -> Float[Array, "*positions V"]:
        """Next-token logits in float32."""
        head_VD = (self.embedding if self.head is None else self.head)[...].astype(hidden.dtype)
        logits = jnp.einsum("...D,VD->...V", hidden, head_VD, preferred_element_type=jnp.float32)
        return soft_cap(logits, self.config.final_logit_softcap)


def _normalised(norm: RMSNorm | None, x: Array) -> Array:
    return x if norm is None else norm(x)


def _stacked_layers(config: ModelConfig, rngs: nnx.Rngs) -> Layer:
    @nnx.split_rngs(splits=config.layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs: nnx.Rngs) -> Layer:
        return Layer(config, rngs)

    return make(rngs)
