"""A GGUF file as a model: its config, its weights in float32 and its tokenizer, in Hugging Face's names and layout.

Only what an outside judge has confirmed is read: the llama architecture with a byte-level BPE vocabulary of the
`smollm` kind.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize
from safetensors.numpy import save_file

from stages.lm import folder as layout
from stages.lm.errors import ModelError

ARCHITECTURES = ("llama",)
PRE_TOKENIZERS = ("smollm",)

_CONTROL = 3  # gguf.TokenType.CONTROL

_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_BLOCK_TENSORS = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}


@dataclass(frozen=True)
class GgufModel:
    """A model as its file describes it: config.json's keys, tokenizer.json's text, and its chat template."""

    config: dict[str, Any]
    tokenizer: dict[str, Any]
    chat_template: str | None
    special_tokens: dict[str, str]
    tensors: dict[str, ReaderTensor]

    def weight(self, key: str) -> np.ndarray:
        """The weight `key` (a Hugging Face key) in float32."""
        tensor = self.tensors[key]
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
        for projection, count in heads.items():
            if projection in key:
                return _unpermuted(values, self.config[count])
        return values


def read_gguf(path: Path) -> GgufModel:
    """Reads the GGUF file at `path`.

    Raises:
        ModelError: the file is damaged, or of an architecture or vocabulary that is not supported.
    """
    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise ModelError(f"{path} is not a readable GGUF file ({error}); fetch it again") from None
    _refuse(path, fields, "general.architecture", ARCHITECTURES)
    _refuse(path, fields, "tokenizer.ggml.model", ("gpt2",))
    _refuse(path, fields, "tokenizer.ggml.pre", PRE_TOKENIZERS)
    _refuse(path, fields, "llama.rope.scaling.type", (None, "none"))
    _refuse(path, fields, "tokenizer.ggml.add_bos_token", (None, False))
    tensors = {_key(path, tensor.name): tensor for tensor in reader.tensors}
    try:
        return GgufModel(
            config=_config(fields, tied="lm_head.weight" not in tensors),
            tokenizer=_tokenizer(fields),
            chat_template=fields.get("tokenizer.chat_template"),
            special_tokens=_special_tokens(fields),
            tensors=tensors,
        )
    except KeyError as error:
        raise ModelError(f"{path} lacks the key {error}") from None
    except IndexError:
        raise ModelError(f"{path}: a special token's id lies outside the vocabulary") from None


def write_model(model: GgufModel, folder: Path) -> None:
    """Writes config, weights (float32) and tokenizer into `folder`, in the Hugging Face layout."""
    weights = {key: np.ascontiguousarray(model.weight(key)) for key in sorted(model.tensors)}
    save_file(weights, folder / layout.WEIGHTS, metadata={"format": "pt"})
    _write_json(folder / layout.CONFIG, model.config)
    (folder / layout.TOKENIZER).write_text(json.dumps(model.tokenizer, ensure_ascii=False) + "\n", encoding="utf-8")
    _write_json(folder / layout.TOKENIZER_CONFIG, _tokenizer_config(model))
    token_ids = {key: model.config[key] for key in ("bos_token_id", "eos_token_id")}
    _write_json(folder / layout.GENERATION_CONFIG, token_ids)


def _tokenizer_config(model: GgufModel) -> dict[str, Any]:
    config: dict[str, Any] = {
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.config["max_position_embeddings"],
        "tokenizer_class": "GPT2Tokenizer",
        **model.special_tokens,
    }
    return config | ({"chat_template": model.chat_template} if model.chat_template else {})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _special_tokens(fields: dict[str, Any]) -> dict[str, str]:
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    ids = {name: fields.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    return {name: fields["tokenizer.ggml.tokens"][index] for name, index in ids.items() if index is not None}


def _refuse(path: Path, fields: dict[str, Any], key: str, supported: tuple[Any, ...]) -> None:
    if fields.get(key) not in supported:
        allowed = ", ".join(str(value) for value in supported if value is not None)
        raise ModelError(f"{path}: {key} {fields.get(key)!r} is not supported; supported: {allowed}")


def _key(path: Path, name: str) -> str:
    if name in _TENSORS:
        return _TENSORS[name]
    start, _, rest = name.partition(".")
    layer, _, part = rest.partition(".")
    if start != "blk" or part not in _BLOCK_TENSORS:
        raise ModelError(f"{path}: the tensor {name} is unknown; a model with it is not supported")
    return f"model.layers.{layer}.{_BLOCK_TENSORS[part]}"


def _config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    heads = fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "dtype": "float32",
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "head_dim": fields.get("llama.rope.dimension_count", fields["llama.embedding_length"] // heads),
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        # Stored as float32: 1e-05 comes back as 9.999999747378752e-06, so the shortest decimal of it is meant.
        "rms_norm_eps": float(str(np.float32(fields["llama.attention.layer_norm_rms_epsilon"]))),
        "rope_theta": float(fields["llama.rope.freq_base"]),
        "tie_word_embeddings": tied,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def _tokenizer(fields: dict[str, Any]) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE vocabulary; the `smollm` kind splits numbers into digits first."""
    words = fields["tokenizer.ggml.tokens"]
    special = [index for index, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind == _CONTROL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": words[index], **flags} for index in special],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: index for index, word in enumerate(words)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        },
    }


def _unpermuted(values: np.ndarray, heads: int) -> np.ndarray:
    """Undoes the order in which GGUF keeps Llama's query and key rows.

    GGUF interleaves the two halves of each head (rotary pairs stand side by side); Hugging Face keeps them apart.
    """
    rows, width = values.shape
    return values.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)
