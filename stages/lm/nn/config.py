"""The config of a decoder: its sizes, and the features in which model families differ."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["silu", "gelu_tanh"]


@dataclass(frozen=True)
class Llama3Rope:
    """Llama 3's scaled rotary frequencies: low ones are divided by `factor`, with a smooth transition to high ones."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


@dataclass(frozen=True)
class Rope:
    """Rotary frequencies: powers of 1 / `theta`, all divided by `factor` (linear) or some of them (Llama 3)."""

    theta: float
    factor: float = 1.0
    llama3: Llama3Rope | None = None


@dataclass(frozen=True)
class LayerSpec:
    """The features that differ between layers: the sliding window (None: none), in positions, and the rope."""

    window: int | None
    rope: Rope


@dataclass(frozen=True)
class ModelConfig:
    """A decoder's sizes and features; the letters are those of `stages.lm`."""

    vocab: int  # V
    layers: int  # L
    width: int  # D
    heads: int  # N
    kv_heads: int  # K
    head_width: int  # H
    feed_forward: int  # F
    norm_epsilon: float
    max_positions: int
    end_token: int | None
    tied: bool
    layer_specs: tuple[LayerSpec, ...]  # one per layer
    query_scale: float  # multiplies the queries
    activation: Activation
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False  # normalise each query and key head
    post_norm: bool = False  # normalise the output of each block too
    zero_centered_norm: bool = False  # norm scales are stored minus one
    embedding_scale: float = 1.0
    attn_logit_softcap: float | None = None
    final_logit_softcap: float | None = None
