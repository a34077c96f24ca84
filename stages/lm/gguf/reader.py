"""Converts a GGUF file to a Hugging Face model folder: config, weights in float32, tokenizer.

Everything whose exact conversion is not tested (other architectures, number formats, vocabularies, ropes) is refused by
name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize

from stages.core.errors import ModelError
from stages.lm.gguf.rope import rope_scaling
from stages.lm.gguf.tokenizer import PRE_TOKENIZERS, special_tokens, tokenizer
from stages.lm.io import hf_folder as layout
from stages.lm.io.safetensors_write import PendingTensor, save_tensors

# Files in K formats use the older formats, such as Q5_0, for rows whose width is not a multiple of 256.
KINDS = (
    Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1,
    Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K,
)  # fmt: skip

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
_BIASES = {f"attn_{name}.bias": f"self_attn.{name}_proj.bias" for name in "qkv"}
_HEAD_NORMS = {f"attn_{name}_norm.weight": f"self_attn.{name}_norm.weight" for name in "qk"}

_TOKEN_IDS = ("bos_token_id", "eos_token_id")
_ROPE_DIVISORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Architecture:
    """A GGUF architecture: its own keys of config.json, its tensors, and the order of their rows."""

    config: Mapping[str, Any]
    block_tensors: Mapping[str, str]
    interleaved: bool  # whether the two halves of query and key heads are interleaved


ARCHITECTURES = {
    "llama": Architecture(
        {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "mlp_bias": False}, _BLOCK_TENSORS, True
    ),
    "qwen2": Architecture(
        {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False}, _BLOCK_TENSORS | _BIASES, False
    ),
    "qwen3": Architecture(
        {"architectures": ["Qwen3ForCausalLM"], "attention_bias": False}, _BLOCK_TENSORS | _HEAD_NORMS, False
    ),
}


@dataclass(frozen=True)
class GgufModel:
    """The content of a GGUF file: config.json, tokenizer.json, chat template, special tokens, and unread tensors."""

    config: dict[str, Any]
    tokenizer: dict[str, Any]
    chat_template: str | None
    special_tokens: dict[str, str]
    tensors: dict[str, ReaderTensor]

    def weight(self, key: str) -> np.ndarray:
        """The weight with the Hugging Face key `key`, dequantised to float32."""
        tensor = self.tensors[key]
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(key.split(".")[-2])
        if heads is None or not ARCHITECTURES[self.config["model_type"]].interleaved:
            return values
        return _deinterleaved(values, self.config[heads])


def read_gguf(path: Path) -> GgufModel:
    """Reads the GGUF file at `path`; each weight is read later, by `GgufModel.weight`.

    Raises:
        ModelError: the file is damaged, or of an architecture, number format or vocabulary that is not supported.
    """
    fields, all_tensors = _read_file(path)
    _refuse_unsupported(path, fields, all_tensors)
    name = fields["general.architecture"]
    divisors = [tensor for tensor in all_tensors if tensor.name == _ROPE_DIVISORS]
    tensors = {
        _hf_key(path, ARCHITECTURES[name], tensor.name): tensor
        for tensor in all_tensors
        if tensor.name != _ROPE_DIVISORS
    }
    try:
        config = _config(fields, name, tied="lm_head.weight" not in tensors)
        _refuse(path, fields, f"{name}.rope.dimension_count", (None, config["head_dim"]))
        for tensor in divisors:
            config["rope_scaling"] = _rope_scaling(path, config, tensor)
        return GgufModel(
            config=config,
            tokenizer=tokenizer(fields),
            chat_template=fields.get("tokenizer.chat_template"),
            special_tokens=special_tokens(fields),
            tensors=tensors,
        )
    except KeyError as error:
        raise ModelError(f"{path} has no key {error}") from None
    except IndexError:
        raise ModelError(f"{path}: the id of a special token is outside the vocabulary") from None


def _read_file(path: Path) -> tuple[dict[str, Any], list[ReaderTensor]]:
    try:
        reader = GGUFReader(path)
        return {name: field.contents() for name, field in reader.fields.items()}, reader.tensors
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise ModelError(f"{path} is not a readable GGUF file ({error}); fetch it again") from None


def _refuse_unsupported(path: Path, fields: dict[str, Any], tensors: list[ReaderTensor]) -> None:
    _refuse(path, fields, "general.architecture", tuple(ARCHITECTURES))
    _refuse(path, fields, "tokenizer.ggml.model", ("gpt2",))
    _refuse(path, fields, "tokenizer.ggml.pre", tuple(PRE_TOKENIZERS))
    name = fields["general.architecture"]
    _refuse(path, fields, f"{name}.rope.scaling.type", (None, "none"))
    # Without a scaling type, a factor means linear scaling; `scale_linear` is its older name.
    _refuse(path, fields, f"{name}.rope.scaling.factor", (None, 1.0))
    _refuse(path, fields, f"{name}.rope.scale_linear", (None, 1.0))
    _refuse(path, fields, "tokenizer.ggml.add_eos_token", (None, False))
    _refuse(path, fields, "split.count", (None, 0, 1))
    unsupported = sorted({tensor.tensor_type.name for tensor in tensors if tensor.tensor_type not in KINDS})
    if unsupported:
        allowed = ", ".join(kind.name for kind in KINDS)
        raise ModelError(
            f"{path}: tensors of the kind {', '.join(unsupported)} are not supported; supported: {allowed}"
        )


def write_model(model: GgufModel, folder: Path) -> None:
    """Writes config, weights (float32) and tokenizer into `folder`, in the Hugging Face layout."""
    weights = {
        key: PendingTensor("F32", tuple(map(int, reversed(tensor.shape))), partial(model.weight, key))
        for key, tensor in model.tensors.items()
    }
    save_tensors(weights, folder)
    _write_json(folder / layout.CONFIG, model.config)
    (folder / layout.TOKENIZER).write_text(json.dumps(model.tokenizer, ensure_ascii=False) + "\n", encoding="utf-8")
    _write_json(folder / layout.TOKENIZER_CONFIG, _tokenizer_config(model))
    token_ids: dict[str, Any] = {key: model.config[key] for key in _TOKEN_IDS if key in model.config}
    _write_json(folder / layout.GENERATION_CONFIG, token_ids)


def _tokenizer_config(model: GgufModel) -> dict[str, Any]:
    config: dict[str, Any] = {
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.config["max_position_embeddings"],
        # This class uses tokenizer.json unchanged; the classes of model families split texts in their own ways.
        "tokenizer_class": "PreTrainedTokenizerFast",
        **model.special_tokens,
    }
    return config | ({"chat_template": model.chat_template} if model.chat_template else {})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _refuse(path: Path, fields: dict[str, Any], key: str, supported: tuple[Any, ...]) -> None:
    if fields.get(key) not in supported:
        allowed = ", ".join(str(value) for value in supported if value is not None)
        raise ModelError(f"{path}: {key} {fields.get(key)!r} is not supported; supported: {allowed}")


def _hf_key(path: Path, architecture: Architecture, name: str) -> str:
    if name in _TENSORS:
        return _TENSORS[name]
    start, _, rest = name.partition(".")
    layer, _, part = rest.partition(".")
    if start != "blk" or part not in architecture.block_tensors:
        raise ModelError(f"{path}: the tensor {name} is unknown; models with it are not supported")
    return f"model.layers.{layer}.{architecture.block_tensors[part]}"


def _config(fields: dict[str, Any], name: str, tied: bool) -> dict[str, Any]:
    heads, width = fields[f"{name}.attention.head_count"], fields[f"{name}.embedding_length"]
    begin = fields.get("tokenizer.ggml.bos_token_id")
    return {
        **ARCHITECTURES[name].config,
        **({} if begin is None else {"bos_token_id": begin}),
        "dtype": "float32",
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "head_dim": fields.get(f"{name}.attention.key_length", width // heads),
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": fields[f"{name}.feed_forward_length"],
        "max_position_embeddings": fields[f"{name}.context_length"],
        "model_type": name,
        "num_attention_heads": heads,
        "num_hidden_layers": fields[f"{name}.block_count"],
        "num_key_value_heads": fields[f"{name}.attention.head_count_kv"],
        # A float32 in the file: the shortest decimal restores 1e-05 from 9.999999747378752e-06.
        "rms_norm_eps": float(str(np.float32(fields[f"{name}.attention.layer_norm_rms_epsilon"]))),
        "rope_theta": float(fields[f"{name}.rope.freq_base"]),
        "tie_word_embeddings": tied,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def _rope_scaling(path: Path, config: dict[str, Any], tensor: ReaderTensor) -> dict[str, Any]:
    scaling = rope_scaling(np.asarray(tensor.data, np.float64), config["rope_theta"], config["head_dim"])
    if scaling is None or config["model_type"] != "llama":
        raise ModelError(
            f"{path}: the tensor {tensor.name} does not have Llama 3's frequencies; such models are not supported"
        )
    return scaling


def _deinterleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Restores the Hugging Face order of Llama's query and key rows.

    GGUF interleaves the two halves of each head, so that rotary pairs are adjacent; Hugging Face does not.
    """
    rows, width = values.shape
    return values.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)
