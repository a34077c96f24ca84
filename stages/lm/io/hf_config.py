"""Parses a Hugging Face `config.json` (of Transformers 4 or 5) into a ModelConfig.

A model type or feature that the decoder does not support is refused by name, never approximated. A missing key gets the
default that Transformers uses, which differs between families.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages.core.errors import ModelError
from stages.lm.nn.config import LayerSpec, Llama3Rope, ModelConfig, Rope

Keys = dict[str, Any]
SLIDING, FULL = "sliding_attention", "full_attention"


def read_config(path: Path) -> ModelConfig:
    """The decoder that the config.json at `path` describes.

    Raises:
        ModelError: the file is missing or not JSON, or names a model type or feature that is not supported.
    """
    raw = read_keys(path)
    try:
        return parse_config(raw)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except KeyError as error:
        raise ModelError(f"{path} has no key {error}") from None


def read_keys(path: Path) -> Keys:
    """The keys of a JSON file of a model folder."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; a model folder contains config.json and model.safetensors") from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ModelError(f"{path} is not a JSON object; expected the {path.name} of a Hugging Face model")
    return raw


def parse_config(raw: Keys) -> ModelConfig:
    """The decoder that the keys of a config.json describe.

    Raises:
        ModelError: a model type, a feature or a size is not supported.
        KeyError: a key is missing.
    """
    model_type = raw.get("model_type")
    if model_type not in FAMILIES:
        raise ModelError(f"model_type {model_type!r} is not supported; supported: {', '.join(FAMILIES)}")
    _refuse_unsupported(raw)
    heads, width = _size(raw, "num_attention_heads"), _size(raw, "hidden_size")
    sizes = {
        "vocab": _size(raw, "vocab_size"),
        "layers": _size(raw, "num_hidden_layers"),
        "width": width,
        "heads": heads,
        "kv_heads": _size(raw, "num_key_value_heads", heads),
        "head_width": _size(raw, "head_dim", HEAD_WIDTHS.get(model_type, width // heads)),
        "feed_forward": _size(raw, "intermediate_size"),
        "max_positions": _size(raw, "max_position_embeddings"),
    }
    if heads % sizes["kv_heads"]:
        raise ModelError(f"num_key_value_heads ({sizes['kv_heads']}) does not divide num_attention_heads ({heads})")
    common = {
        "norm_epsilon": _number(raw, "rms_norm_eps"),
        "end_token": _first(raw.get("eos_token_id")),
        "tied": raw.get("tie_word_embeddings", model_type in GEMMAS),
        "query_scale": sizes["head_width"] ** -0.5,
    }
    return ModelConfig(**sizes | common | FAMILIES[model_type](raw))


def _llama(raw: Keys) -> Keys:
    bias = raw.get("attention_bias", False)
    mlp_bias = raw.get("mlp_bias", False)
    specs = _uniform_specs(raw, None)
    return {"layer_specs": specs, "qkv_bias": bias, "out_bias": bias, "mlp_bias": mlp_bias} | _silu(raw)


def _mistral(raw: Keys) -> Keys:
    return {"layer_specs": _uniform_specs(raw, _window(raw))} | _silu(raw)


def _qwen2(raw: Keys) -> Keys:
    return {"layer_specs": _qwen_specs(raw), "qkv_bias": True} | _silu(raw)


def _qwen3(raw: Keys) -> Keys:
    bias = raw.get("attention_bias", False)
    specs = _qwen_specs(raw)
    return {"layer_specs": specs, "qkv_bias": bias, "out_bias": bias, "qk_norm": True} | _silu(raw)


def _gemma2(raw: Keys) -> Keys:
    rope = _rope(raw)
    sliding, full = LayerSpec(_window(raw), rope), LayerSpec(None, rope)
    slides = [layer % 2 == 0 for layer in range(raw["num_hidden_layers"])]
    return _gemma(raw) | {
        "layer_specs": _layer_specs(raw, sliding, full, slides),
        "attn_logit_softcap": _cap(raw, "attn_logit_softcapping", 50.0),
        "final_logit_softcap": _cap(raw, "final_logit_softcapping", 30.0),
    }


def _gemma3(raw: Keys) -> Keys:
    rope_by_type = raw.get("rope_parameters")
    if rope_by_type and FULL in rope_by_type:
        ropes = [_rope({"rope_parameters": rope_by_type[layer_type]}) for layer_type in (SLIDING, FULL)]
    else:
        ropes = [Rope(_number(raw, "rope_local_base_freq", 10_000.0)), _rope({"rope_theta": 1e6} | raw)]
    sliding, full = LayerSpec(_window(raw), ropes[0]), LayerSpec(None, ropes[1])
    period = _size(raw, "sliding_window_pattern", raw.get("_sliding_window_pattern") or 6)
    slides = [(layer + 1) % period > 0 for layer in range(raw["num_hidden_layers"])]
    return _gemma(raw) | {
        "layer_specs": _layer_specs(raw, sliding, full, slides),
        "qk_norm": True,
        "attn_logit_softcap": _cap(raw, "attn_logit_softcapping", None),
        "final_logit_softcap": _cap(raw, "final_logit_softcapping", None),
    }


def _gemma(raw: Keys) -> Keys:
    bias = raw.get("attention_bias", False)
    _only(raw, "use_bidirectional_attention", (None, False))
    _only(raw, "hidden_activation", (None, "gelu_pytorch_tanh"))
    return {
        "activation": "gelu_tanh",
        "qkv_bias": bias,
        "out_bias": bias,
        "query_scale": _number(raw, "query_pre_attn_scalar", 256.0) ** -0.5,
        "embedding_scale": raw["hidden_size"] ** 0.5,
        "post_norm": True,
        "zero_centered_norm": True,
    }


FAMILIES: dict[str, Callable[[Keys], Keys]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
}
GEMMAS = ("gemma2", "gemma3_text")
# Default `head_dim` of families in which it is not the model's width divided by its heads.
HEAD_WIDTHS = {"qwen3": 128, "gemma2": 256, "gemma3_text": 256}


def _silu(raw: Keys) -> Keys:
    _only(raw, "hidden_act", (None, "silu"))
    return {"activation": "silu"}


def _window(raw: Keys) -> int | None:
    # Null means no window; a missing key means the default.
    return None if raw.get("sliding_window", 4096) is None else _size(raw, "sliding_window", 4096)


def _cap(raw: Keys, key: str, default: float | None) -> float | None:
    return default if key not in raw else None if raw[key] is None else _number(raw, key)


def _uniform_specs(raw: Keys, window: int | None) -> tuple[LayerSpec, ...]:
    return (LayerSpec(window, _rope(raw)),) * raw["num_hidden_layers"]


def _qwen_specs(raw: Keys) -> tuple[LayerSpec, ...]:
    rope, layers = _rope(raw), raw["num_hidden_layers"]
    window = _window(raw) if raw.get("use_sliding_window") else None
    first = raw.get("max_window_layers", 28)
    sliding, full = LayerSpec(window, rope), LayerSpec(None, rope)
    return _layer_specs(raw, sliding, full, [window is not None and layer >= first for layer in range(layers)])


def _layer_specs(raw: Keys, sliding: LayerSpec, full: LayerSpec, slides: Sequence[bool]) -> tuple[LayerSpec, ...]:
    """The spec of each layer by `layer_types`, or by `slides` if the config is older than that key."""
    specs = {SLIDING: sliding, FULL: full}
    types = raw.get("layer_types") or [SLIDING if is_sliding else FULL for is_sliding in slides]
    for unknown in set(types) - specs.keys():
        raise ModelError(f"layer_types has {unknown!r}, which is not supported; supported: {', '.join(specs)}")
    if len(types) != len(slides):
        raise ModelError(f"layer_types has {len(types)} entries, but num_hidden_layers is {len(slides)}")
    return tuple(specs[name] for name in types)


def _rope(raw: Keys) -> Rope:
    # Transformers 5 has one key, `rope_parameters`; earlier versions have `rope_theta` and `rope_scaling`.
    rope = raw.get("rope_parameters") or {
        "rope_theta": raw.get("rope_theta", 10_000.0),
        **(raw.get("rope_scaling") or {}),
    }
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = _number(rope, "rope_theta")
    for keys in (raw, rope):
        _only(keys, "partial_rotary_factor", (None, 1.0))
    if kind == "default":
        return Rope(theta)
    if kind == "linear":
        return Rope(theta, factor=_number(rope, "factor"))
    if kind == "llama3":
        llama3 = Llama3Rope(
            factor=_number(rope, "factor"),
            low_freq_factor=_number(rope, "low_freq_factor"),
            high_freq_factor=_number(rope, "high_freq_factor"),
            original_max_positions=_size(rope, "original_max_position_embeddings"),
        )
        return Rope(theta, llama3=llama3)
    raise ModelError(f"rope type {kind!r} is not supported; supported: default, linear, llama3")


def _refuse_unsupported(raw: Keys) -> None:
    if raw.get("quantization_config"):
        raise ModelError("quantised weights (quantization_config) are not supported; use an unquantised copy")
    if raw.get("auto_map"):
        raise ModelError(
            "auto_map names custom code, which is never run; use a copy of the model that Transformers loads by itself"
        )


def _only(raw: Keys, key: str, allowed: tuple[Any, ...]) -> None:
    if raw.get(key) not in allowed:
        raise ModelError(f"{key} {raw[key]!r} is not supported; supported: {allowed[-1]}")


def _size(raw: Keys, key: str, default: int | None = None) -> int:
    """The positive whole number at `key`; null or a missing key means the default, if there is one."""
    value = raw[key] if default is None or raw.get(key) is not None else default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{key} is {value!r}, expected a whole number above 0")
    return value


def _number(raw: Keys, key: str, default: float | None = None) -> float:
    value = raw[key] if default is None else raw.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ModelError(f"{key} is {value!r}, expected a number above 0")
    return float(value)


def _first(token: int | list[int] | None) -> int | None:
    # Several end tokens are a list; the first one ends a text.
    return token[0] if isinstance(token, list) else token
