"""Parsing config.json: both spellings, the features of each family, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.core.errors import ModelError
from stages.lm.io.hf_config import parse_config, read_config
from stages.lm.nn.config import LayerSpec, Llama3Rope, ModelConfig, Rope
from tests.helpers.refusals import refusal_of

PLAIN: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 100,
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64,
}
STRETCHED = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_type": "llama3",
}
GEMMA = PLAIN | {"model_type": "gemma2"}


def write(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refused(path: Path) -> str:
    return refusal_of(lambda: read_config(path), path, ModelError)


def test_missing_keys_of_a_llama_have_their_defaults() -> None:
    assert parse_config(PLAIN) == ModelConfig(
        vocab=100,
        layers=3,
        width=32,
        heads=4,
        kv_heads=4,
        head_width=8,
        feed_forward=48,
        norm_epsilon=1e-5,
        max_positions=64,
        end_token=None,
        tied=False,
        layer_specs=(LayerSpec(None, Rope(10_000.0)),) * 3,
        query_scale=8**-0.5,
        activation="silu",
    )


def test_every_key_is_read() -> None:
    config = parse_config(
        PLAIN
        | {
            "num_key_value_heads": 2,
            "head_dim": 12,
            "rope_theta": 500_000,
            "rope_scaling": STRETCHED,
            "tie_word_embeddings": True,
            "attention_bias": True,
            "mlp_bias": True,
            "eos_token_id": 7,
        }
    )
    assert (config.kv_heads, config.head_width, config.end_token) == (2, 12, 7)
    assert (config.tied, config.qkv_bias, config.out_bias, config.mlp_bias) == (True, True, True, True)
    llama3 = Llama3Rope(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_positions=16)
    assert config.layer_specs == (LayerSpec(None, Rope(500_000.0, llama3=llama3)),) * 3


# ---- features of the families


def windows(raw: dict[str, Any]) -> list[int | None]:
    return [spec.window for spec in parse_config(raw).layer_specs]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_type": "llama", "sliding_window": 8}, [None] * 3),  # Transformers ignores it in a llama
        ({"model_type": "mistral"}, [4096] * 3),
        ({"model_type": "mistral", "sliding_window": None}, [None] * 3),
        ({"model_type": "mistral", "sliding_window": 8}, [8] * 3),
        ({"model_type": "qwen2", "sliding_window": 8}, [None] * 3),
        (
            {"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": True, "max_window_layers": 2},
            [None, None, 8],
        ),
        ({"model_type": "gemma2"}, [4096, None, 4096]),
        ({"model_type": "gemma2", "sliding_window": 8, "layer_types": ["full_attention"] * 3}, [None] * 3),
        ({"model_type": "gemma3_text", "sliding_window": 8}, [8] * 3),
        ({"model_type": "gemma3_text", "sliding_window": 8, "sliding_window_pattern": 2}, [8, None, 8]),
        ({"model_type": "gemma3_text", "sliding_window": 8, "_sliding_window_pattern": 3}, [8, 8, None]),
    ],
)
def test_which_layers_slide(change: dict[str, Any], expected: list[int | None]) -> None:
    assert windows(PLAIN | change) == expected


def test_both_spellings_of_ropes_by_layer_are_equal() -> None:
    types = {"model_type": "gemma3_text", "sliding_window_pattern": 2}
    scaled = {"rope_type": "linear", "factor": 8.0}
    older = PLAIN | types | {"rope_local_base_freq": 5_000, "rope_theta": 2e6, "rope_scaling": scaled}
    local = {"rope_type": "default", "rope_theta": 5_000.0}
    newer = PLAIN | types | {
        "rope_parameters": {"full_attention": scaled | {"rope_theta": 2e6}, "sliding_attention": local}
    }  # fmt: skip
    near, far = LayerSpec(4096, Rope(5_000.0)), LayerSpec(None, Rope(2e6, factor=8.0))
    assert parse_config(older).layer_specs == parse_config(newer).layer_specs == (near, far, near)
    default = parse_config(PLAIN | types).layer_specs
    assert default[:2] == (LayerSpec(4096, Rope(10_000.0)), LayerSpec(None, Rope(1e6)))


@pytest.mark.parametrize(
    ("model_type", "head_width", "tied"),
    [("mistral", 8, False), ("qwen2", 8, False), ("qwen3", 128, False), ("gemma2", 256, True)],
)
def test_defaults_of_missing_keys_differ_by_family(model_type: str, head_width: int, tied: bool) -> None:
    config = parse_config(PLAIN | {"model_type": model_type})
    assert (config.head_width, config.tied) == (head_width, tied)


def test_the_arithmetic_of_gemma() -> None:
    gemma2 = parse_config(GEMMA)
    assert (gemma2.attn_logit_softcap, gemma2.final_logit_softcap, gemma2.query_scale, gemma2.activation) == (
        50.0,
        30.0,
        1 / 16,
        "gelu_tanh",
    )
    assert (gemma2.embedding_scale, gemma2.post_norm, gemma2.zero_centered_norm, gemma2.qk_norm) == (
        32**0.5,
        True,
        True,
        False,
    )
    gemma3 = parse_config(PLAIN | {"model_type": "gemma3_text"})
    assert (gemma3.attn_logit_softcap, gemma3.final_logit_softcap, gemma3.qk_norm) == (None, None, True)


def test_biases_of_qwen() -> None:
    qwen2, qwen3 = (parse_config(PLAIN | {"model_type": name}) for name in ("qwen2", "qwen3"))
    assert (qwen2.qkv_bias, qwen2.out_bias, qwen2.mlp_bias, qwen2.qk_norm) == (True, False, False, False)
    assert (qwen3.qkv_bias, qwen3.out_bias, qwen3.mlp_bias, qwen3.qk_norm) == (False, False, False, True)


# ---- spellings


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({}, {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}),
        ({"rope_theta": 1e5, "rope_scaling": None}, {"rope_parameters": {"rope_type": "default", "rope_theta": 1e5}}),
        ({"rope_theta": 1e5, "rope_scaling": STRETCHED}, {"rope_parameters": {**STRETCHED, "rope_theta": 1e5}}),
        # Before `rope_type` the key was `type`.
        ({"rope_theta": 1e5, "rope_scaling": {"type": "default"}}, {"rope_parameters": {"rope_theta": 1e5}}),
    ],
)
def test_both_spellings_of_rope_are_equal(older: dict[str, Any], newer: dict[str, Any]) -> None:
    assert parse_config(PLAIN | older) == parse_config(PLAIN | newer)


@pytest.mark.parametrize(("token", "end"), [(2, 2), ([2, 5], 2), (0, 0), (None, None)])
def test_the_first_end_token_ends_a_text(token: object, end: int | None) -> None:
    assert parse_config(PLAIN | {"eos_token_id": token}).end_token == end


def test_null_means_the_same_as_a_missing_key() -> None:
    assert parse_config(PLAIN | {"head_dim": None, "num_key_value_heads": None}) == parse_config(PLAIN)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"model_type": "gpt2"}, ["model_type 'gpt2'", "llama"]),
        ({"model_type": None}, ["model_type None"]),
        ({"hidden_act": "gelu"}, ["hidden_act 'gelu'", "silu"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config"]),
        ({"model_type": "gemma3"}, ["model_type 'gemma3'", "gemma3_text"]),
        ({"auto_map": {"AutoModel": "modeling.py"}}, ["auto_map"]),
        ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor 0.5"]),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, ["rope type 'dynamic'", "linear"]),
        (GEMMA | {"use_bidirectional_attention": True}, ["use_bidirectional_attention True"]),
        (GEMMA | {"hidden_activation": "gelu"}, ["hidden_activation 'gelu'", "gelu_pytorch_tanh"]),
        (GEMMA | {"layer_types": ["chunked_attention"] * 3}, ["layer_types has 'chunked_attention'"]),
        (GEMMA | {"layer_types": ["full_attention"] * 2}, ["layer_types has 2 entries", "num_hidden_layers is 3"]),
        ({"num_key_value_heads": 3}, ["num_key_value_heads (3) does not divide num_attention_heads (4)"]),
        ({"hidden_size": "32"}, ["hidden_size is '32', expected a whole number"]),
        ({"num_key_value_heads": 0}, ["num_key_value_heads is 0, expected a whole number above 0"]),
        ({"model_type": "mistral", "sliding_window": "8"}, ["sliding_window is '8', expected a whole number"]),
        (GEMMA | {"final_logit_softcapping": "3"}, ["final_logit_softcapping is '3', expected a number"]),
        ({"rms_norm_eps": "small"}, ["rms_norm_eps is 'small', expected a number"]),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, ["rope type 'yarn'"]),
    ],
)
def test_unsupported_features_are_refused_by_name(tmp_path: Path, change: dict[str, Any], names: list[str]) -> None:
    message = refused(write(tmp_path, PLAIN | change))
    assert all(name in message for name in names)


@pytest.mark.parametrize("key", ["vocab_size", "num_attention_heads", "rms_norm_eps", "max_position_embeddings"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    raw = {name: value for name, value in PLAIN.items() if name != key}
    assert refused(write(tmp_path, raw)).endswith(f"has no key '{key}'")


def test_a_missing_key_of_the_stretched_rope_is_named(tmp_path: Path) -> None:
    raw = PLAIN | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
    assert refused(write(tmp_path, raw)).endswith("has no key 'low_freq_factor'")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert refused(path) == f"{path} is missing; a model folder contains config.json and model.safetensors"


@pytest.mark.parametrize("content", ["", "{", "not json", [], "3"])
def test_a_file_that_is_not_a_json_object_is_refused(tmp_path: Path, content: object) -> None:
    refused(write(tmp_path, content))


@pytest.mark.parametrize("family", ["llama-tied", "llama3-rope", "mistral-window", "qwen2", "qwen3", "gemma2"])
def test_a_config_in_the_older_spelling_is_the_same_decoder(golden: Path, tmp_path: Path, family: str) -> None:
    path = golden / "tiny" / family / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    rope = raw.pop("rope_parameters")
    older = raw | {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    assert read_config(write(tmp_path, older)) == read_config(path)
