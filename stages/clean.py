"""Stage `clean`: the examples and instruction pairs that pass, counted, with held-out examples split off."""

import json
from pathlib import Path

import polars as pl

from stages.params.clean import CleanParams
from stages.project.errors import run
from stages.project.files import write_text
from stages.project.params import read_params
from stages.text.cleaning import HELD_OUT, clean_examples, clean_pairs
from stages.text.listed import read_listed
from stages.text.tables import EXAMPLES, EXAMPLES_RAW, INSTRUCTIONS, QUESTIONS, write_table


def main(raw: Path, instructions: Path, suites: Path, out_examples: Path, out_instructions: Path, report: Path) -> None:
    """Cleans the listed sets of the folders RAW and INSTRUCTIONS, away from the questions in SUITES."""
    knobs = read_params(CleanParams)
    questions = _asked(read_listed(suites, knobs.suites, QUESTIONS))
    examples = clean_examples(
        read_listed(raw, knobs.datasets, EXAMPLES_RAW), questions, knobs.held_out, knobs.max_characters
    )
    held_out = examples.table.filter(pl.col("part") == HELD_OUT)["text"]
    pairs = clean_pairs(read_listed(instructions, knobs.instructions, INSTRUCTIONS), questions, held_out)
    write_table(examples.table.select(EXAMPLES.names), EXAMPLES, out_examples)
    write_table(pairs.table, INSTRUCTIONS, out_instructions)
    write_text(report, json.dumps({"rows": examples.counts, "instructions": pairs.counts}, indent=2) + "\n")


def _asked(questions: pl.DataFrame) -> pl.Series:
    return questions.select(pl.col("turns").list.eval(pl.element().struct.field("text")).list.join("\n"))["turns"]


if __name__ == "__main__":
    run(main)
