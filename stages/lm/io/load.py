"""A model folder as a decoder with its tokenizer, which have to belong together."""

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
    """What is needed to ask a model questions."""

    decoder: Decoder
    config: ModelConfig
    tokenizer: Tokenizer


def open_model(folder: Path, place: ShardingFn = on_first_device, dtype: jnp.dtype = FLOAT32) -> LanguageModel:
    """Opens a model folder in the Hugging Face layout; weights are held in `dtype`, each leaf where `place` says.

    To be asked in bfloat16, a model needs its weights in no more: they are rounded now, and not at each use.
    """
    config = read_config(folder / CONFIG)
    tokenizer = _fitting_tokenizer(folder, config)
    return LanguageModel(load_decoder(folder, config, place, dtype), config, tokenizer)


def check_folder(folder: Path) -> None:
    """Refuses what `open_model` would refuse of a folder, but for what only the weights' numbers show."""
    config = read_config(folder / CONFIG)
    check_weights(folder, config)
    _fitting_tokenizer(folder, config)


def _fitting_tokenizer(folder: Path, config: ModelConfig) -> Tokenizer:
    tokenizer = load_tokenizer(folder)
    # Of added tokens some text models have more than they can read: Gemma 3 has one for images.
    words = tokenizer.get_vocab_size(with_added_tokens=False)
    if words > config.vocab:
        raise ModelError(
            f"{folder}: {TOKENIZER} has a vocabulary of {words:,}, and config.json one of {config.vocab:,}; they are "
            "of different models"
        )
    return tokenizer
