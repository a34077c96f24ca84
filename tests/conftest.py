"""Shared fixtures: reference values and hub files from outside the repository, and tiny random models."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

if TYPE_CHECKING:
    from stages.lm.io.load import LanguageModel

# No two sizes of a weight's axes are equal, so that none can be taken for another.
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "eos_token_id": 1,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "tie_word_embeddings": True,
}
SPECIAL = ("<|begin|>", "<|end|>")
# A space is `Ġ` in a byte-level vocabulary; `no` and `is` can straddle a prompt's end, and `12` a split into digits.
MERGES = (("Ġ", "("), ("n", "o"), ("i", "s"), ("Ġ", "is"), ("t", "h"), ("Ġ", "th"), ("e", "s"), ("1", "2"))
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


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference values from an independent implementation."""
    return _outside("CANDOR_TEST_GOLDEN", "reference values from an independent implementation")


@pytest.fixture(scope="session")
def hub() -> Path:
    """The folder of hub data sets, laid out as on the hub."""
    return _outside("CANDOR_TEST_HUB", "data sets laid out as on the hub")


def _outside(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set; it names a folder with {what}")
    if not Path(value).is_dir():
        pytest.skip(f"{variable} is {value}, which is no folder; it names one with {what}")
    return Path(value)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "Callable[..., LanguageModel]":
    """Makes a tiny random model from a seed, with a byte-level tokenizer.

    `tiny(seed=3, folder=path, attention_bias=True)` also leaves its model folder at `path`; what else is named changes
    config.json, that of a llama.
    """

    def make(seed: int = 0, folder: Path | None = None, **changes: Any) -> "LanguageModel":
        from stages.lm.io.load import open_model

        folder = folder or tmp_path_factory.mktemp("tiny")
        tokenizer = _tokenizer()
        config = CONFIG | {"vocab_size": tokenizer.get_vocab_size()} | changes
        folder.mkdir(exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        names = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "tokenizer_class": "GPT2Tokenizer"}
        (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
        save_file(_weights(seed, config), folder / "model.safetensors", metadata={"format": "pt"})
        return open_model(folder)

    return make


@pytest.fixture(scope="session")
def as_gguf() -> Callable[..., Path]:
    """Writes a tiny model's folder as a GGUF file, in the format that the bundled models have.

    `as_gguf(folder, path, architecture, fields, tensors)`: without an architecture that of the folder; `fields` replace
    the file's own (None leaves one out), and `tensors` (bytes and their format, by Hugging Face's name) replace or join
    the folder's.
    """
    from gguf import GGUFWriter

    def write(
        folder: Path,
        path: Path,
        architecture: str | None = None,
        fields: dict[str, Any] | None = None,
        tensors: dict[str, Any] | None = None,
    ) -> Path:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        writer = GGUFWriter(path, architecture or config["model_type"])
        add: dict[type, Callable[[str, Any], None]] = {
            str: writer.add_string,
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
        }
        for name, value in (_gguf_fields(config, folder) | (fields or {})).items():
            if value is not None:
                add.get(type(value), writer.add_array)(name, value)
        own = load_file(folder / "model.safetensors")
        for key, (data, kind) in (
            {key: (_in_pairs(key, own[key], config), None) for key in own} | (tensors or {})
        ).items():
            writer.add_tensor(_gguf_name(key), data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.fixture
def exact() -> Iterator[None]:
    """Matrix products in full float32, which accelerators do not do by themselves."""
    import jax

    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def lightly_compiled() -> Iterator[None]:
    """Programs compiled in half the time, for modules that compile much and compute little."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def _tokenizer() -> Tokenizer:
    words = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in MERGES)]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, list(MERGES)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _weights(seed: int, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Random weights under their Hugging Face keys; scales and biases too, so that none of them does nothing."""
    random = np.random.default_rng(seed)
    D, F, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    NH, KH = (config[heads] * config["head_dim"] for heads in ("num_attention_heads", "num_key_value_heads"))
    attention = {"q_proj": (NH, D), "k_proj": (KH, D), "v_proj": (KH, D), "o_proj": (D, NH)}
    mlp = {"gate_proj": (F, D), "up_proj": (F, D), "down_proj": (D, F)}
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (V, D)
    biased = {*(attention if config.get("attention_bias") else ()), *(mlp if config.get("mlp_bias") else ())}
    if config["model_type"] == "qwen2":
        biased = {"q_proj", "k_proj", "v_proj"}
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}."
        shapes |= {f"{block}{name}.weight": shape for name, shape in _norms(config).items()}
        for part, projections in (("self_attn", attention), ("mlp", mlp)):
            shapes |= {f"{block}{part}.{name}.weight": shape for name, shape in projections.items()}
            shapes |= {f"{block}{part}.{name}.bias": projections[name][:1] for name in projections if name in biased}
    centre = 0.0 if config["model_type"].startswith("gemma") else 1.0
    return {key: _random(random, key, shape, centre) for key, shape in shapes.items()}


def _norms(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """A layer's norms and their widths."""
    names = ["input_layernorm", "post_attention_layernorm"]
    shapes: dict[str, tuple[int, ...]] = {}
    if config["model_type"].startswith("gemma"):
        names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    if config["model_type"] in ("qwen3", "gemma3_text"):
        shapes |= dict.fromkeys(("self_attn.q_norm", "self_attn.k_norm"), (config["head_dim"],))
    return shapes | dict.fromkeys(names, (config["hidden_size"],))


def _random(random: np.random.Generator, key: str, shape: tuple[int, ...], centre: float) -> np.ndarray:
    values = random.normal(size=shape)
    if key.endswith("norm.weight"):
        values = centre + 0.2 * values
    else:
        values *= 0.5 if len(shape) == 1 else 1.5 / np.sqrt(shape[-1])
    return values.astype(np.float32)


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
