"""What a config.json says, in both spellings, and what is refused in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.lm.config import Llama3Rope, ModelConfig, parse_config, read_config
from stages.lm.errors import ModelError

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
FAMILIES = {
    "mistral-window": "mistral",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
}


def write(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_what_a_config_leaves_out_has_the_defaults_of_llama() -> None:
    assert parse_config(PLAIN) == ModelConfig(
        vocab=100,
        layers=3,
        width=32,
        heads=4,
        kv_heads=4,
        head_width=8,
        feed_forward=48,
        norm_epsilon=1e-5,
        rope_theta=10_000.0,
        rope_llama3=None,
        tied=False,
        attention_bias=False,
        mlp_bias=False,
        max_positions=64,
        end_token=None,
    )


def test_every_key_is_read() -> None:
    read = parse_config(
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
    assert (read.kv_heads, read.head_width, read.rope_theta, read.end_token) == (2, 12, 500_000.0, 7)
    assert (read.tied, read.attention_bias, read.mlp_bias) == (True, True, True)
    assert read.rope_llama3 == Llama3Rope(
        factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_positions=16
    )


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
def test_both_spellings_of_rope_are_one(older: dict[str, Any], newer: dict[str, Any]) -> None:
    assert parse_config(PLAIN | older) == parse_config(PLAIN | newer)


@pytest.mark.parametrize(("token", "end"), [(2, 2), ([2, 5], 2), (0, 0), (None, None)])
def test_the_first_end_token_ends_a_text(token: object, end: int | None) -> None:
    assert parse_config(PLAIN | {"eos_token_id": token}).end_token == end


def test_null_stands_for_a_key_that_is_left_out() -> None:
    assert parse_config(PLAIN | {"head_dim": None, "num_key_value_heads": None}) == parse_config(PLAIN)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"model_type": "gpt2"}, ["model_type 'gpt2'", "llama"]),
        ({"model_type": None}, ["model_type None"]),
        ({"hidden_act": "gelu"}, ["hidden_act 'gelu'", "silu"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config"]),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, ["rope type 'linear'", "llama3"]),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, ["rope type 'yarn'"]),
    ],
)
def test_what_the_decoder_does_not_have_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], names: list[str]
) -> None:
    message = refused(write(tmp_path, PLAIN | change))
    assert all(name in message for name in names)


@pytest.mark.parametrize("key", ["vocab_size", "num_attention_heads", "rms_norm_eps", "max_position_embeddings"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    raw = {name: value for name, value in PLAIN.items() if name != key}
    assert refused(write(tmp_path, raw)).endswith(f"lacks the key '{key}'")


def test_a_missing_key_of_the_stretched_rope_is_named(tmp_path: Path) -> None:
    raw = PLAIN | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
    assert refused(write(tmp_path, raw)).endswith("lacks the key 'low_freq_factor'")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    assert "is missing" in refused(tmp_path / "config.json")


@pytest.mark.parametrize("content", ["", "{", "not json", [], "3"])
def test_what_is_no_json_object_is_said(tmp_path: Path, content: object) -> None:
    refused(write(tmp_path, content))


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_are_refused_by_name(golden: Path, family: str) -> None:
    message = refused(golden / "tiny" / family / "config.json")
    assert f"model_type '{FAMILIES[family]}' is not supported; supported are llama" in message


@pytest.mark.parametrize("family", ["llama-tied", "llama-untied-bias", "llama3-rope"])
def test_a_checkpoint_in_the_older_spelling_is_the_same_decoder(golden: Path, tmp_path: Path, family: str) -> None:
    path = golden / "tiny" / family / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    rope = raw.pop("rope_parameters")
    older = raw | {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    assert read_config(write(tmp_path, older)) == read_config(path)
