"""Stage `prompt`: training prompts with their opinion-free twins, and held-out claims as questions."""

import sys
from pathlib import Path

import polars as pl

from stages.params.prompt import PromptParams
from stages.project.errors import run
from stages.project.params import read_params
from stages.text.claims import held_out_questions, training_prompts
from stages.text.cleaning import HELD_OUT, TRAIN
from stages.text.tables import EXAMPLES, PROMPTS, QUESTIONS, read_table, write_table


def main(examples: Path, out_prompts: Path, out_claims: Path) -> None:
    """Makes prompts and questions of EXAMPLES."""
    knobs = read_params(PromptParams)
    table = read_table(examples, EXAMPLES)
    train, held_out = (table.filter(pl.col("part") == part) for part in (TRAIN, HELD_OUT))
    prompts = training_prompts(train, knobs.seed, knobs.claims, knobs.count, knobs.most_per_dataset)
    if prompts.height < knobs.count:
        print(
            f"prompt.count asks for {knobs.count} prompts; the examples allow {prompts.height} "
            f"(prompt.most_per_dataset is {knobs.most_per_dataset}), and all of them are used",
            file=sys.stderr,
        )
    write_table(prompts, PROMPTS, out_prompts)
    write_table(held_out_questions(held_out, knobs.seed, knobs.held_out_per_dataset), QUESTIONS, out_claims)


if __name__ == "__main__":
    run(main)
