"""A model folder as a decoder with its tokenizer."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from stages.lm.architecture import ModelConfig
from stages.lm.config import read_config
from stages.lm.model import Decoder
from stages.lm.tokens import load_tokenizer
from stages.lm.weights import Place, load, on_first_device


@dataclass(frozen=True)
class LanguageModel:
    """What is needed to ask a model questions."""

    decoder: Decoder
    config: ModelConfig
    tokenizer: Tokenizer


def open_model(folder: Path, place: Place = on_first_device) -> LanguageModel:
    """Opens a model folder in the Hugging Face layout; weights are float32, each leaf where `place` says."""
    config = read_config(folder / "config.json")
    return LanguageModel(load(folder, config, place), config, load_tokenizer(folder))
