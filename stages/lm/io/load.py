"""Loads a model folder: decoder, config and tokenizer, after checking that they belong together."""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
from tokenizers import Tokenizer

from stages.core.errors import ModelError
from stages.lm.io.hf_config import read_config
from stages.lm.io.hf_folder import CONFIG, TOKENIZER
from stages.lm.io.tokenizer import load_tokenizer
from stages.lm.io.weights import ShardingFn, check_weights, load_decoder, on_first_device
from stages.lm.nn.config import ModelConfig
from stages.lm.nn.decoder import FLOAT32, Decoder


@dataclass(frozen=True)
class LanguageModel:
    """A decoder with its config and tokenizer."""

    decoder: Decoder
    config: ModelConfig
    tokenizer: Tokenizer


def open_model(folder: Path, sharding_fn: ShardingFn = on_first_device, dtype: jnp.dtype = FLOAT32) -> LanguageModel:
    """Loads a model folder in the Hugging Face layout; weights get `dtype` and the sharding from `sharding_fn`.

    A model that computes in bfloat16 needs its weights in no wider type: they are rounded once here, not at each use.

    Raises:
        ModelError: a file is missing, damaged or not supported, or the files do not belong together.
    """
    config = read_config(folder / CONFIG)
    tokenizer = _matching_tokenizer(folder, config)
    return LanguageModel(load_decoder(folder, config, sharding_fn, dtype), config, tokenizer)


def check_folder(folder: Path) -> None:
    """Checks a folder as `open_model` does, without reading the values of the weights.

    Raises:
        ModelError: as in `open_model`.
    """
    config = read_config(folder / CONFIG)
    check_weights(folder, config)
    _matching_tokenizer(folder, config)


def _matching_tokenizer(folder: Path, config: ModelConfig) -> Tokenizer:
    tokenizer = load_tokenizer(folder)
    # Without added tokens: some text models have one that they cannot read, such as Gemma 3's image token.
    vocab = tokenizer.get_vocab_size(with_added_tokens=False)
    if vocab > config.vocab:
        raise ModelError(
            f"{folder}: the vocabulary in {TOKENIZER} has {vocab:,} tokens, but config.json allows {config.vocab:,}; "
            "they belong to different models"
        )
    return tokenizer
