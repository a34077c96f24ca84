"""What decoder a `config.json` describes, in either spelling (Transformers 4 and 5).

A model type or a feature that the decoder does not have is refused by name, never run approximately.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lm.errors import ModelError

SUPPORTED = ("llama",)


@dataclass(frozen=True)
class Llama3Rope:
    """Llama 3's stretched rotary frequencies: low ones are divided by `factor`, with a smooth passage between."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


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
    rope_theta: float
    rope_llama3: Llama3Rope | None
    tied: bool
    attention_bias: bool
    mlp_bias: bool
    max_positions: int
    end_token: int | None


def read_config(path: Path) -> ModelConfig:
    """The decoder that the config.json at `path` describes.

    Raises:
        ModelError: the file is missing or no JSON, or names a model type or feature that is not supported.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; a model folder holds config.json and model.safetensors") from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ModelError(f"{path} should hold keys with values, as a model's config.json does")
    try:
        return parse_config(raw)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except KeyError as error:
        raise ModelError(f"{path} lacks the key {error}") from None


def parse_config(raw: dict[str, Any]) -> ModelConfig:
    """The decoder that the keys of a config.json describe."""
    _refuse_unsupported(raw)
    heads = raw["num_attention_heads"]
    theta, llama3 = _rope(raw)
    return ModelConfig(
        vocab=raw["vocab_size"],
        layers=raw["num_hidden_layers"],
        width=raw["hidden_size"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_width=raw.get("head_dim") or raw["hidden_size"] // heads,
        feed_forward=raw["intermediate_size"],
        norm_epsilon=raw["rms_norm_eps"],
        rope_theta=theta,
        rope_llama3=llama3,
        tied=raw.get("tie_word_embeddings", False),
        attention_bias=raw.get("attention_bias", False),
        mlp_bias=raw.get("mlp_bias", False),
        max_positions=raw["max_position_embeddings"],
        end_token=_first(raw.get("eos_token_id")),
    )


def _first(token: int | list[int] | None) -> int | None:
    # Several end tokens are a list; the first is the one that ends a text.
    return token[0] if isinstance(token, list) else token


def _refuse_unsupported(raw: dict[str, Any]) -> None:
    model_type = raw.get("model_type")
    if model_type not in SUPPORTED:
        raise ModelError(f"model_type {model_type!r} is not supported; supported are {', '.join(SUPPORTED)}")
    if raw.get("hidden_act", "silu") != "silu":
        raise ModelError(f"hidden_act {raw['hidden_act']!r} is not supported for {model_type}; supported is silu")
    if "quantization_config" in raw:
        raise ModelError("quantised weights (quantization_config) are not supported; use an unquantised copy")


def _rope(raw: dict[str, Any]) -> tuple[float, Llama3Rope | None]:
    # Transformers 5 keeps all of it in `rope_parameters`; before, `rope_theta` stood apart from `rope_scaling`.
    rope = raw.get("rope_parameters") or {
        "rope_theta": raw.get("rope_theta", 10_000.0),
        **(raw.get("rope_scaling") or {}),
    }
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return float(rope["rope_theta"]), None
    if kind == "llama3":
        return float(rope["rope_theta"]), Llama3Rope(
            factor=rope["factor"],
            low_freq_factor=rope["low_freq_factor"],
            high_freq_factor=rope["high_freq_factor"],
            original_max_positions=rope["original_max_position_embeddings"],
        )
    raise ModelError(f"rope type {kind!r} is not supported; supported are default and llama3")
