"""What decoder a `config.json` describes, in either spelling (Transformers 4 and 5).

A model type or a feature that the decoder does not have is refused by name, never run approximately. What a file leaves
out has the value that Transformers gives it, which differs from family to family.
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
        ModelError: the file is missing or no JSON, or names a model type or feature that is not supported.
    """
    raw = read_keys(path)
    try:
        return parse_config(raw)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except KeyError as error:
        raise ModelError(f"{path} lacks the key {error}") from None


def read_keys(path: Path) -> Keys:
    """The keys of a JSON file of a model folder."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; a model folder holds config.json and model.safetensors") from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ModelError(f"{path} should hold keys with values, as a model's {path.name} does")
    return raw


def parse_config(raw: Keys) -> ModelConfig:
    """The decoder that the keys of a config.json describe.

    Raises:
        ModelError: a model type, a feature or a size is not supported.
        KeyError: a key is missing.
    """
    model_type = raw.get("model_type")
    if model_type not in FAMILIES:
        raise ModelError(f"model_type {model_type!r} is not supported; supported are {', '.join(FAMILIES)}")
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
        raise ModelError(f"num_attention_heads ({heads}) is no multiple of num_key_value_heads ({sizes['kv_heads']})")
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
    kinds = _alike(raw, None)
    return {"layer_specs": kinds, "qkv_bias": bias, "out_bias": bias, "mlp_bias": mlp_bias} | _silu(raw)


def _mistral(raw: Keys) -> Keys:
    return {"layer_specs": _alike(raw, _window(raw))} | _silu(raw)


def _qwen2(raw: Keys) -> Keys:
    return {"layer_specs": _qwen_kinds(raw), "qkv_bias": True} | _silu(raw)


def _qwen3(raw: Keys) -> Keys:
    bias = raw.get("attention_bias", False)
    kinds = _qwen_kinds(raw)
    return {"layer_specs": kinds, "qkv_bias": bias, "out_bias": bias, "qk_norm": True} | _silu(raw)


def _gemma2(raw: Keys) -> Keys:
    rope = _rope(raw)
    local, whole = LayerSpec(_window(raw), rope), LayerSpec(None, rope)
    return _gemma(raw) | {
        "layer_specs": _by_type(raw, local, whole, [layer % 2 == 0 for layer in range(raw["num_hidden_layers"])]),
        "attn_logit_softcap": _cap(raw, "attn_logit_softcapping", 50.0),
        "final_logit_softcap": _cap(raw, "final_logit_softcapping", 30.0),
    }


def _gemma3(raw: Keys) -> Keys:
    by_type = raw.get("rope_parameters")
    if by_type and FULL in by_type:
        ropes = [_rope({"rope_parameters": by_type[kind]}) for kind in (SLIDING, FULL)]
    else:
        ropes = [Rope(_number(raw, "rope_local_base_freq", 10_000.0)), _rope({"rope_theta": 1e6} | raw)]
    local, whole = LayerSpec(_window(raw), ropes[0]), LayerSpec(None, ropes[1])
    every = _size(raw, "sliding_window_pattern", raw.get("_sliding_window_pattern") or 6)
    return _gemma(raw) | {
        "layer_specs": _by_type(
            raw, local, whole, [(layer + 1) % every > 0 for layer in range(raw["num_hidden_layers"])]
        ),
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
# Where config.json names none, and it is not the model's width over its heads.
HEAD_WIDTHS = {"qwen3": 128, "gemma2": 256, "gemma3_text": 256}


def _silu(raw: Keys) -> Keys:
    _only(raw, "hidden_act", (None, "silu"))
    return {"activation": "silu"}


def _window(raw: Keys) -> int | None:
    # Null is none, which differs from a key that is left out.
    return None if raw.get("sliding_window", 4096) is None else _size(raw, "sliding_window", 4096)


def _cap(raw: Keys, key: str, default: float | None) -> float | None:
    return default if key not in raw else None if raw[key] is None else _number(raw, key)


def _alike(raw: Keys, window: int | None) -> tuple[LayerSpec, ...]:
    return (LayerSpec(window, _rope(raw)),) * raw["num_hidden_layers"]


def _qwen_kinds(raw: Keys) -> tuple[LayerSpec, ...]:
    rope, layers = _rope(raw), raw["num_hidden_layers"]
    window = _window(raw) if raw.get("use_sliding_window") else None
    first = raw.get("max_window_layers", 28)
    local, whole = LayerSpec(window, rope), LayerSpec(None, rope)
    return _by_type(raw, local, whole, [window is not None and layer >= first for layer in range(layers)])


def _by_type(raw: Keys, local: LayerSpec, whole: LayerSpec, slides: Sequence[bool]) -> tuple[LayerSpec, ...]:
    """The kind of each layer as `layer_types` says, or as `slides` where a config is older than that key."""
    kinds = {SLIDING: local, FULL: whole}
    types = raw.get("layer_types") or [SLIDING if slides_here else FULL for slides_here in slides]
    for unknown in set(types) - kinds.keys():
        raise ModelError(f"layer_types has {unknown!r}, which is not supported; supported are {', '.join(kinds)}")
    if len(types) != len(slides):
        raise ModelError(f"layer_types has {len(types)} entries, but num_hidden_layers is {len(slides)}")
    return tuple(kinds[name] for name in types)


def _rope(raw: Keys) -> Rope:
    # Transformers 5 keeps all of it in `rope_parameters`; before, `rope_theta` stood apart from `rope_scaling`.
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
    raise ModelError(f"rope type {kind!r} is not supported; supported are default, linear and llama3")


def _refuse_unsupported(raw: Keys) -> None:
    if raw.get("quantization_config"):
        raise ModelError("quantised weights (quantization_config) are not supported; use an unquantised copy")
    if raw.get("auto_map"):
        raise ModelError(
            "it names code of its own (auto_map), which is never run; use a copy in Transformers' own form"
        )


def _only(raw: Keys, key: str, allowed: tuple[Any, ...]) -> None:
    if raw.get(key) not in allowed:
        raise ModelError(f"{key} {raw[key]!r} is not supported; supported is {allowed[-1]}")


def _size(raw: Keys, key: str, default: int | None = None) -> int:
    """A whole number; where there is a default, null and a missing key stand for it."""
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
    # Several end tokens are a list; the first is the one that ends a text.
    return token[0] if isinstance(token, list) else token
