"""The files of a model folder in the Hugging Face layout, and its model card."""

import shutil
from pathlib import Path

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
CARD = "README.md"

# The files to copy from a model folder besides weights. Others are not needed, and might be code or pickles.
SMALL_FILES = (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    GENERATION_CONFIG,
    "special_tokens_map.json",
    CHAT_TEMPLATE,
)


def copy_small_files(source: Path, folder: Path) -> None:
    """Copies config and tokenizer files, byte for byte."""
    for name in SMALL_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def front_matter(folder: Path) -> str:
    """The YAML front matter of the folder's card, with its licence; empty if there is none."""
    card = folder / CARD
    lines = card.read_text(encoding="utf-8").splitlines(keepends=True) if card.exists() else []
    if not lines or lines[0].strip() != "---":
        return ""
    end = next((index for index, line in enumerate(lines[1:], start=1) if line.strip() == "---"), 0)
    return "".join(lines[: end + 1]) + "\n" if end else ""


def write_card(folder: Path, card: str) -> None:
    """Writes the model card."""
    (folder / CARD).write_text(card, encoding="utf-8", newline="\n")
