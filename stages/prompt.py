"""Stage `prompt`: training prompts with their opinion-free twins, and held-out claims as questions."""

import json
import sys
from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.files import write_text
from stages.core.params import read_params
from stages.params.prompt import PromptParams
from stages.tables.parquet import open_table, read_named_tables, write_batches, write_table
from stages.tables.schemas import EXAMPLES, EXAMPLES_RAW, HELD_OUT, PROMPTS, QUESTIONS, TRAIN
from stages.text.prompts.reference import merged_examples
from stages.text.prompts.shortcuts import SHORTCUT_COLUMNS, shortcuts
from stages.text.prompts.training import CLAIMS, PROMPT_SOURCE_COLUMNS, held_out_questions, training_prompts


def main(examples: Path, raw: Path, out_prompts: Path, out_claims: Path, out_shortcuts: Path) -> None:
    """Makes prompts and questions from EXAMPLES, and reports how well rules do that do not read the texts.

    With prompt.fidelity: reference, prompts are made from the folder RAW, like those of the reference generator.
    """
    params = read_params(PromptParams)
    table = open_table(examples, EXAMPLES).columns(*PROMPT_SOURCE_COLUMNS, "part")
    train, held_out = (table.filter(pl.col("part") == part) for part in (TRAIN, HELD_OUT))
    if params.fidelity == "reference":
        train = merged_examples(read_named_tables(raw, params.datasets, EXAMPLES_RAW), held_out)
    batches = training_prompts(
        train, params.seed, params.claims, params.count, params.most_per_dataset, params.fidelity
    )
    write_batches(batches, PROMPTS, out_prompts)
    prompts = open_table(out_prompts, PROMPTS)
    if prompts.height < params.count:
        print(
            f"params.yaml: prompt.count is {params.count}, but the examples give only {prompts.height} prompts "
            f"(prompt.most_per_dataset is {params.most_per_dataset}); all of them are used",
            file=sys.stderr,
        )
    questions = held_out_questions(held_out, params.seed, params.held_out_per_dataset, params.reworded_per_dataset)
    write_table(questions, QUESTIONS, out_claims)
    claims = questions.filter(pl.col("suite") == CLAIMS)
    write_text(out_shortcuts, json.dumps(shortcuts(prompts.columns(*SHORTCUT_COLUMNS), claims), indent=2) + "\n")


if __name__ == "__main__":
    run(main)
