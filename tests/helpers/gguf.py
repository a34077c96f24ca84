"""Writes a tiny model's folder as a GGUF file, in the format that the bundled models have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import load_file

from tests.helpers.tiny_model import SPECIAL

# What a GGUF file calls otherwise.
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def write_gguf(
    folder: Path,
    path: Path,
    architecture: str | None = None,
    fields: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
) -> Path:
    """Writes the model in `folder` to `path`; without an architecture, that of the folder.

    `fields` replace the file's own (None leaves one out), and `tensors` (bytes and their format, by Hugging Face's
    name) replace or join the folder's.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(path, architecture or config["model_type"])
    _add_fields(writer, _gguf_fields(config, folder) | (fields or {}))
    own = load_file(folder / "model.safetensors")
    both = {key: (_in_pairs(key, own[key], config), None) for key in own} | (tensors or {})
    for key, (data, kind) in both.items():
        writer.add_tensor(_gguf_name(key), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_fields(writer: GGUFWriter, fields: dict[str, Any]) -> None:
    add: dict[type, Callable[[str, Any], None]] = {
        str: writer.add_string,
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
    }
    for name, value in fields.items():
        if value is not None:
            add.get(type(value), writer.add_array)(name, value)


def _gguf_name(key: str) -> str:
    for theirs, ours in GGUF_NAMES.items():
        key = key.replace(theirs, ours)
    return key


def _in_pairs(key: str, values: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """A tensor as converters to GGUF write it: rows 0 1 2 3 of a query or key head stand as 0 2 1 3, pair by pair."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(key.split(".")[-2])
    if heads is None or config["model_type"] != "llama":
        return values
    rows, columns = values.shape
    pairs = values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2)
    return np.ascontiguousarray(pairs.reshape(rows, columns))


def _gguf_fields(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    bpe = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    words = sorted(bpe["vocab"], key=bpe["vocab"].__getitem__)
    name = config["model_type"]
    return {
        f"{name}.context_length": config["max_position_embeddings"],
        f"{name}.embedding_length": config["hidden_size"],
        f"{name}.block_count": config["num_hidden_layers"],
        f"{name}.feed_forward_length": config["intermediate_size"],
        f"{name}.attention.head_count": config["num_attention_heads"],
        f"{name}.attention.head_count_kv": config["num_key_value_heads"],
        f"{name}.attention.key_length": config["head_dim"],
        f"{name}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        f"{name}.rope.dimension_count": config["head_dim"],
        f"{name}.rope.freq_base": config["rope_parameters"]["rope_theta"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [3 if word in SPECIAL else 1 for word in words],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in bpe["merges"]],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.chat_template": "{{ messages }}",
    }
