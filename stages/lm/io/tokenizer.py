"""Loads the tokenizer of a model folder (tokenizer.json)."""

from pathlib import Path

from tokenizers import Tokenizer

from stages.core.errors import ModelError
from stages.lm.io.hf_folder import TOKENIZER


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder.

    Raises:
        ModelError: tokenizer.json is missing or damaged.
    """
    path = folder / TOKENIZER
    if not path.exists():
        raise ModelError(
            f"{path} is missing; only tokenizers in that format are supported, and Transformers converts others: "
            "`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"{path} cannot be read: {error}") from None
    # The saved tokenizer may truncate or pad texts, but scores are of complete texts only.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
