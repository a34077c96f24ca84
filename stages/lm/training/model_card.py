"""The model card of a tuned model: what it was trained on, and the recipe."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.lm.io.hf_folder import front_matter


def model_card(base: Path, counts: Iterable[tuple[str, str, int]], synthetic: str, recipe: Mapping[str, object]) -> str:
    """A card with the front matter of the folder `base` (its licence among it).

    `counts` are kind, source and number of the mixture's examples; `synthetic` is the kind of generated prompts.
    """
    examples = "".join(f"| {kind} | {source} | {count} |\n" for kind, source, count in counts)
    params = "".join(f"| {name} | {value} |\n" for name, value in recipe.items())
    return (
        f"{front_matter(base)}# {base.name}, fine-tuned\n\n"
        f"The examples of the mixture; of the kind `{synthetic}` is simple synthetic data "
        "against sycophancy (Wei et al. 2023, arXiv 2308.03958), filtered for what the model knows:\n\n"
        f"| kind | source | examples |\n|---|---|---:|\n{examples}\n"
        f"The recipe:\n\n| param | value |\n|---|---|\n{params}"
    )
