"""The decoder of every family once more, written plainly in float64: head by head and layer by layer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

Keys = dict[str, Any]
Arrays = dict[str, np.ndarray]


def plain_logits(folder: Path, ids: np.ndarray) -> np.ndarray:
    """Logits [T, V] of the model folder's decoder."""
    raw: Keys = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = {key: value.astype(np.float64) for key, value in load_file(folder / "model.safetensors").items()}
    x = weights["model.embed_tokens.weight"][ids]
    if is_gemma(raw):
        x = x * np.sqrt(raw["hidden_size"])
    for layer in range(raw["num_hidden_layers"]):
        block = {
            key.split(".", 3)[3]: value for key, value in weights.items() if key.startswith(f"model.layers.{layer}.")
        }
        x = plain_layer(raw, block, x, layer)
    x = plain_norm(raw, x, weights["model.norm.weight"])
    logits = x @ weights.get("lm_head.weight", weights["model.embed_tokens.weight"]).T
    return capped(logits, raw.get("final_logit_softcapping"))


def is_gemma(raw: Keys) -> bool:
    return raw["model_type"] in ("gemma2", "gemma3_text")


def plain_layer(raw: Keys, block: Arrays, x: np.ndarray, layer: int) -> np.ndarray:
    def norm(name: str, y: np.ndarray) -> np.ndarray:
        return plain_norm(raw, y, block[f"{name}_layernorm.weight"])

    mixed = plain_attention(raw, block, norm("input", x), layer)
    if not is_gemma(raw):
        x = x + mixed
        return x + plain_mlp(block, norm("post_attention", x), silu)
    x = x + norm("post_attention", mixed)
    return x + norm("post_feedforward", plain_mlp(block, norm("pre_feedforward", x), gelu))


def plain_mlp(block: Arrays, x: np.ndarray, activation: Any) -> np.ndarray:
    gate, up = plain_linear(block, "mlp.gate_proj", x), plain_linear(block, "mlp.up_proj", x)
    return plain_linear(block, "mlp.down_proj", activation(gate) * up)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-x))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def capped(x: np.ndarray, cap: float | None) -> np.ndarray:
    return x if cap is None else cap * np.tanh(x / cap)


def plain_norm(raw: Keys, x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5) * (scale + is_gemma(raw))


def plain_linear(block: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    return x @ block[f"{name}.weight"].T + block.get(f"{name}.bias", 0.0)


def plain_attention(raw: Keys, block: Arrays, x: np.ndarray, layer: int) -> np.ndarray:
    heads, width = raw["num_attention_heads"], raw["head_dim"]
    shared = heads // raw["num_key_value_heads"]
    query, key, value = (plain_linear(block, f"self_attn.{name}_proj", x) for name in "qkv")
    window, rope = window_and_rope(raw, layer)
    back = np.subtract.outer(np.arange(len(x)), np.arange(len(x)))
    seen = (back >= 0) & (back < (window or len(x)))
    mixed = np.empty_like(query)
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        common = slice(head // shared * width, (head // shared + 1) * width)
        left, right = query[:, own], key[:, common]
        if "self_attn.q_norm.weight" in block:
            left = plain_norm(raw, left, block["self_attn.q_norm.weight"])
            right = plain_norm(raw, right, block["self_attn.k_norm.weight"])
        scores = (
            plain_turned(rope, left) @ plain_turned(rope, right).T / np.sqrt(raw.get("query_pre_attn_scalar") or width)
        )
        scores = np.where(seen, capped(scores, raw.get("attn_logit_softcapping")), -np.inf)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed[:, own] = weights / weights.sum(axis=1, keepdims=True) @ value[:, common]
    return plain_linear(block, "self_attn.o_proj", mixed)


def window_and_rope(raw: Keys, layer: int) -> tuple[int | None, Keys]:
    rope, window = raw["rope_parameters"], raw.get("sliding_window")
    if raw["model_type"] == "gemma2":
        return (window if layer % 2 == 0 else None), rope
    if raw["model_type"] == "gemma3_text":
        kind = raw["layer_types"][layer]
        return (window if kind == "sliding_attention" else None), rope[kind]
    return window, rope


def plain_turned(rope: Keys, x: np.ndarray) -> np.ndarray:
    """Turns each pair (i, i + H/2) of row t by the angle t * frequency[i]: a product of complex numbers."""
    pairs = x.shape[1] // 2
    frequencies = np.array([plain_frequency(rope, pair / pairs) for pair in range(pairs)])
    turned = (x[:, :pairs] + 1j * x[:, pairs:]) * np.exp(1j * np.outer(np.arange(len(x)), frequencies))
    return np.concatenate((turned.real, turned.imag), axis=1)


def plain_frequency(rope: Keys, exponent: float) -> float:
    frequency = float(rope["rope_theta"] ** -exponent)
    if rope["rope_type"] == "default":
        return frequency
    if rope["rope_type"] == "linear":
        return frequency / float(rope["factor"])
    window, low, high = (rope[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    wavelength = 2 * np.pi / frequency
    if wavelength < window / high:
        return frequency
    if wavelength > window / low:
        return float(frequency / rope["factor"])
    smooth = (window / wavelength - low) / (high - low)
    return float((1 - smooth) * frequency / rope["factor"] + smooth * frequency)
