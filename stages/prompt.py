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
from stages.text.prompts.shortcuts import SHORTCUT_COLUMNS as READ_BY_RULES
from stages.text.prompts.shortcuts import shortcuts
from stages.text.prompts.training import CLAIMS, PROMPT_SOURCE_COLUMNS, held_out_questions, training_prompts


def main(examples: Path, raw: Path, out_prompts: Path, out_claims: Path, out_shortcuts: Path) -> None:
    """Makes prompts and questions of EXAMPLES, and says what can be got right of them without reading the texts.

    With prompt.fidelity: reference, prompts are made of the folder RAW, as the reference generator makes them.
    """
    knobs = read_params(PromptParams)
    table = open_table(examples, EXAMPLES).columns(*PROMPT_SOURCE_COLUMNS, "part")
    train, held_out = (table.filter(pl.col("part") == part) for part in (TRAIN, HELD_OUT))
    if knobs.fidelity == "reference":
        train = merged_examples(read_named_tables(raw, knobs.datasets, EXAMPLES_RAW), held_out)
    made = training_prompts(train, knobs.seed, knobs.claims, knobs.count, knobs.most_per_dataset, knobs.fidelity)
    write_batches(made, PROMPTS, out_prompts)
    prompts = open_table(out_prompts, PROMPTS)
    if prompts.height < knobs.count:
        print(
            f"prompt.count asks for {knobs.count} prompts; the examples allow {prompts.height} "
            f"(prompt.most_per_dataset is {knobs.most_per_dataset}), and all of them are used",
            file=sys.stderr,
        )
    questions = held_out_questions(held_out, knobs.seed, knobs.held_out_per_dataset, knobs.reworded_per_dataset)
    write_table(questions, QUESTIONS, out_claims)
    claims = questions.filter(pl.col("suite") == CLAIMS)
    write_text(out_shortcuts, json.dumps(shortcuts(prompts.columns(*READ_BY_RULES), claims), indent=2) + "\n")


if __name__ == "__main__":
    run(main)
