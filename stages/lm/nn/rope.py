"""Rotary position embeddings (Su et al. 2021, arXiv 2104.09864)."""

import math

import jax.numpy as jnp

from stages.lm.nn.config import Llama3Rope, Rope
from stages.lm.nn.shapes import Array, Int

RopeCosSin = tuple[Array, Array]


def rope_cos_sin(positions_BT: Int[Array, "B T"], rope: Rope, head_width: int) -> RopeCosSin:
    """Cosines and sines of the rotary angles, [B, T, H/2] each, in float32."""
    exponents_H = jnp.arange(0, head_width, 2, dtype=jnp.float32) / head_width
    frequencies_H = 1.0 / rope.theta**exponents_H
    if rope.llama3 is not None:
        frequencies_H = _llama3_scaled(frequencies_H, rope.llama3)
    if rope.factor != 1.0:
        frequencies_H = frequencies_H / rope.factor
    angles_BTH = positions_BT[..., None].astype(jnp.float32) * frequencies_H
    return jnp.cos(angles_BTH), jnp.sin(angles_BTH)


def _llama3_scaled(frequencies_H: Array, rope: Llama3Rope) -> Array:
    # Frequencies with fewer than low_freq_factor turns per original window are divided by the factor. Those with more
    # than high_freq_factor turns stay. In between, the unscaled share grows linearly with the turns.
    turns_H = rope.original_max_positions * frequencies_H / (2 * math.pi)
    unscaled_H = jnp.clip((turns_H - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0)
    return frequencies_H * (unscaled_H + (1.0 - unscaled_H) / rope.factor)


def apply_rope(x_BTNH: Array, rope_BTH: RopeCosSin) -> Array:
    """Rotates each pair (i, i + H/2) of a head by its angle, in float32."""
    first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    cosines, sines = (part[:, :, None, :] for part in rope_BTH)
    rotated = jnp.concatenate((first * cosines - second * sines, second * cosines + first * sines), axis=-1)
    return rotated.astype(x_BTNH.dtype)
