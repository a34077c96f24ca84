"""Model folders in the Hugging Face layout: what belongs to one."""

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

# What is taken along from a folder: nothing else in it is needed, and nothing that could be run or unpickled.
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
    """The lines between dashes that a card begins with (its licence among them); empty where it has none."""
    card = folder / CARD
    lines = card.read_text(encoding="utf-8").splitlines(keepends=True) if card.exists() else []
    if not lines or lines[0].strip() != "---":
        return ""
    end = next((index for index, line in enumerate(lines[1:], start=1) if line.strip() == "---"), 0)
    return "".join(lines[: end + 1]) + "\n" if end else ""


def write_card(folder: Path, card: str) -> None:
    """Writes the model card."""
    (folder / CARD).write_text(card, encoding="utf-8", newline="\n")
