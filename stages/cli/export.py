"""`candor export`: writes a tuned model with its complete card as a folder to share."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from stages.core.errors import UserError
from stages.core.files import atomic_dir
from stages.lm.io.hf_folder import CARD

TUNED, CARDS = Path("models/tuned"), Path("reports/cards")


def export(
    model: Annotated[str, typer.Argument(help="A name in `models` of params.yaml.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; it must not exist.")],
) -> None:
    """Writes the tuned MODEL to the folder OUT: weights, config, tokenizer, and a card with its recipe and measures.

    Hugging Face Transformers can open the folder; `hf upload` sends it to the hub.
    """
    tuned, measured = TUNED / model, CARDS / f"{model}.md"
    for path in (tuned, measured):
        if not path.exists():
            raise UserError(
                f"{path} does not exist; list {model} in `models` of params.yaml, then `dvc repro` makes it"
            )
    if out.exists():
        raise UserError(f"{out} already exists; name another folder, or remove it")
    with atomic_dir(out) as folder:
        shutil.copytree(tuned, folder, dirs_exist_ok=True)
        recipe = (tuned / CARD).read_text(encoding="utf-8")
        card = f"{recipe.rstrip()}\n\n{measured.read_text(encoding='utf-8')}"
        (folder / CARD).write_text(card, encoding="utf-8", newline="\n")
    print(f"{out}: {model}, ready to share")
