"""The decoder in Flax NNX: the weights of all layers are stacked along a leading axis L and run with `jax.lax.scan`.

Attention uses an interval mask. Each key has one number, its end, and query t may attend to key s when
s <= t < ends[s]. This one rule covers every layout of a row:

* a plain sequence: all ends are one past the last token;
* padding: the end of a padding token is the next index, so only the token itself attends to it;
* packed sequences: the ends of each are where the next one begins;
* a tree in depth-first order (a question and its choices): the end of a node is one past its subtree.

A layer with a sliding window also limits how many positions back a key may be. Positions count along the branch of a
tree, not along the row.
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

FLOAT32 = jnp.dtype("float32")
POLICIES = jax.checkpoint_policies
ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
}


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation, computed in float32; a zero-centred scale is stored minus one."""

    def __init__(self, width: int, config: ModelConfig):
        self.epsilon = config.norm_epsilon
        self.offset = 1.0 if config.zero_centered_norm else 0.0
        self.scale = nnx.Param(jnp.full(width, 1.0 - self.offset))

    def __call__(self, x: Array) -> Array:
        x32 = x.astype(jnp.float32)
        normal = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + self.epsilon)
        return (normal * (self.offset + self.scale[...].astype(jnp.float32))).astype(x.dtype)


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
        self.scale, self.softcap = config.query_scale, config.attn_logit_softcap

    def __call__(
        self, x_BTD: Array, inputs: AttentionInputs, cache: KVCache | None, start: Array | None, prefix: Prefix | None
    ) -> tuple[Array, KVCache | None]:
        query_BTNH = apply_rope(_maybe_norm(self.query_norm, self.query(x_BTD)), inputs.rope_BTH)
        key_BSKH = apply_rope(_maybe_norm(self.key_norm, self.key(x_BTD)), inputs.rope_BTH)
        value_BSKH = self.value(x_BTD)
        options = (inputs.mask_BTS, self.scale, self.softcap)
        if prefix is not None:
            return self.out(attend_with_prefix(prefix, query_BTNH, key_BSKH, value_BSKH, *options)), None
        if cache is not None and start is not None:
            cache = cache.update(key_BSKH, value_BSKH, start)
            key_BSKH, value_BSKH = cache
        return self.out(attend(query_BTNH, key_BSKH, value_BSKH, *options)), cache


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
    """One block: attention and feed-forward, each with a norm before (in some families also after) and a residual."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.width, config)
        self.attention = Attention(config, rngs)
        self.attention_post_norm = RMSNorm(config.width, config) if config.post_norm else None
        self.mlp_norm = RMSNorm(config.width, config)
        self.mlp = FeedForward(config, rngs)
        self.mlp_post_norm = RMSNorm(config.width, config) if config.post_norm else None

    def __call__(
        self, x_BTD: Array, inputs: AttentionInputs, cache: KVCache | None, start: Array | None, prefix: Prefix | None
    ) -> tuple[Array, KVCache | None]:
        mixed_BTD, cache = self.attention(self.attention_norm(x_BTD), inputs, cache, start, prefix)
        x_BTD = x_BTD + _maybe_norm(self.attention_post_norm, mixed_BTD)
        return x_BTD + _maybe_norm(self.mlp_post_norm, self.mlp(self.mlp_norm(x_BTD))), cache


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

        For the backward pass, only the products with weights are stored; attention, norms and activations are
        recomputed, which is faster on a CPU than storing them. With `remat` the products are recomputed too.
        """
        mask_of = partial(attention_mask, ends_BT, positions_BT, positions_BT)
        inputs_of = attention_inputs(positions_BT, mask_of, self.config)
        return self._hidden(tokens_BT, inputs_of, dtype, remat=remat)[0]

    def forward_with_cache(
        self,
        tokens_BT: Int[Array, "B T"],
        positions_BS: Int[Array, "B S"],
        ends_BS: Int[Array, "B S"],
        cache_L: KVCache,
        start: Int[Array, ""],
        dtype: jnp.dtype = FLOAT32,
    ) -> tuple[Float[Array, "B T D"], KVCache]:
        """Final hidden states of the tokens at the indices from `start` on, and the updated cache (prefill, decode).

        `positions_BS` and `ends_BS` are for all S indices of the cache, written or not.
        """
        positions_BT = jax.lax.dynamic_slice_in_dim(positions_BS, start, tokens_BT.shape[1], axis=1)
        mask_of = partial(attention_mask, ends_BS, positions_BT, positions_BS, start=start)
        inputs_of = attention_inputs(positions_BT, mask_of, self.config)
        hidden_BTD, cache_L = self._hidden(tokens_BT, inputs_of, dtype, cache_L=cache_L, start=start)
        return hidden_BTD, cache_L

    def forward_with_prefix(
        self,
        prefix_L: Prefix,
        tokens_BT: Int[Array, "B T"],
        positions_BT: Int[Array, "B T"],
        ends_BT: Int[Array, "B T"],
        dtype: jnp.dtype = FLOAT32,
    ) -> Float[Array, "B T D"]:
        """Final hidden states of tokens that follow a shared prefix; `ends_BT` counts from the end of the prefix."""
        B, T = tokens_BT.shape
        capacity = prefix_L.key_1PKH.shape[2]
        index_BP = jnp.broadcast_to(jnp.arange(capacity), (B, capacity))
        positions_BS = jnp.concatenate((index_BP, positions_BT), axis=1)
        prefix_ends_BP = jnp.where(index_BP < prefix_L.length[0], capacity + T, 0)
        ends_BS = jnp.concatenate((prefix_ends_BP, capacity + ends_BT), axis=1)
        mask_of = partial(attention_mask, ends_BS, positions_BT, positions_BS, start=capacity)
        inputs_of = attention_inputs(positions_BT, mask_of, self.config)
        return self._hidden(tokens_BT, inputs_of, dtype, prefix_L=prefix_L)[0]

    def init_cache(self, rows: int, length: int, dtype: jnp.dtype = FLOAT32) -> KVCache:
        """An empty cache for `rows` sequences of up to `length` tokens."""
        shape = (self.config.layers, rows, length, self.config.kv_heads, self.config.head_width)
        return KVCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def _hidden(
        self,
        tokens_BT: Array,
        inputs_of: Callable[[int | Array], AttentionInputs],
        dtype: jnp.dtype,
        *,
        cache_L: KVCache | None = None,
        start: Array | None = None,
        prefix_L: Prefix | None = None,
        remat: bool = False,
    ) -> tuple[Array, Any]:
        graph, weights_L = nnx.split(self.layers)

        def layer(x_BTD: Array, scanned: tuple[Any, Array, Any, Any]) -> tuple[Array, KVCache | None]:
            weights, spec, cache, prefix = scanned
            x_BTD, cache = nnx.merge(graph, weights)(x_BTD, inputs_of(spec), cache, start, prefix)
            return split_rows(x_BTD), cache

        x_BTD = split_rows(self.embedding[...][tokens_BT].astype(dtype))
        if self.config.embedding_scale != 1.0:
            x_BTD = x_BTD * jnp.asarray(self.config.embedding_scale, dtype)
        specs_L = jnp.array(layer_spec_indices(self.config), jnp.int32)
        policy = POLICIES.nothing_saveable if remat else POLICIES.dots_with_no_batch_dims_saveable
        # No barriers against common subexpression elimination are needed: the scan prevents it.
        layer = jax.checkpoint(layer, policy=policy, prevent_cse=False)
        x_BTD, cache_L = jax.lax.scan(layer, x_BTD, (weights_L, specs_L, cache_L, prefix_L))
        return self.norm(x_BTD), cache_L

    def logits(self, hidden: Float[Array, "*positions D"]) -> Float[Array, "*positions V"]:
        """Next-token logits in float32."""
        head_VD = (self.embedding if self.head is None else self.head)[...].astype(hidden.dtype)
        logits = jnp.einsum("...D,VD->...V", hidden, head_VD, preferred_element_type=jnp.float32)
        return soft_cap(logits, self.config.final_logit_softcap)


def _maybe_norm(norm: RMSNorm | None, x: Array) -> Array:
    return x if norm is None else norm(x)


def _stacked_layers(config: ModelConfig, rngs: nnx.Rngs) -> Layer:
    @nnx.split_rngs(splits=config.layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs: nnx.Rngs) -> Layer:
        return Layer(config, rngs)

    return make(rngs)
