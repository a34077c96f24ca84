"""Tiny random models of any family, as model folders with a byte-level tokenizer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

if TYPE_CHECKING:
    from stages.lm.io.load import LanguageModel

# What the fixture `tiny` is: it makes a model from a seed, a folder and changes of config.json.
TinyModel = Callable[..., "LanguageModel"]
# What most tests compute in.
FLOAT32 = np.dtype("float32")

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


def write_tiny_model(folder: Path, seed: int, changes: dict[str, Any]) -> None:
    """Writes a llama's folder with weights drawn from `seed`; `changes` are to its config.json."""
    tokenizer = _tokenizer()
    config = CONFIG | {"vocab_size": tokenizer.get_vocab_size()} | changes
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    names = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "tokenizer_class": "GPT2Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    save_file(_weights(seed, config), folder / "model.safetensors", metadata={"format": "pt"})


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
