"""The tokenizer of a model folder (tokenizer.json)."""

from pathlib import Path

from tokenizers import Tokenizer

from stages.core.errors import ModelError
from stages.lm.io.hf_folder import TOKENIZER


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder."""
    path = folder / TOKENIZER
    if not path.exists():
        raise ModelError(
            f"{path} is missing; text is read with a tokenizer in that form, which Transformers makes of others "
            "(`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`)"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"{path} cannot be read: {error}") from None
    # Whoever saved it may have cut or padded texts; here what is scored is all of a text and nothing else.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
