"""A model folder as a decoder with its tokenizer."""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
from tokenizers import Tokenizer

from stages.lm.architecture import ModelConfig
from stages.lm.config import read_config
from stages.lm.model import FLOAT32, Decoder
from stages.lm.tokens import load_tokenizer
from stages.lm.weights import Place, load, on_first_device


@dataclass(frozen=True)
class LanguageModel:
    """What is needed to ask a model questions."""

    decoder: Decoder
    config: ModelConfig
    tokenizer: Tokenizer


def open_model(folder: Path, place: Place = on_first_device, dtype: jnp.dtype = FLOAT32) -> LanguageModel:
    """Opens a model folder in the Hugging Face layout; weights are held in `dtype`, each leaf where `place` says.

    To be asked in bfloat16, a model needs its weights in no more: they are rounded now, and not at each use.
    """
    config = read_config(folder / "config.json")
    return LanguageModel(load(folder, config, place, dtype), config, load_tokenizer(folder))
