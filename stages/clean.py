"""Stage `clean`: the examples and instruction pairs that pass, counted, with held-out examples split off."""

import json
from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.files import write_text
from stages.core.params import read_params
from stages.datasets.paper import PUBLISHED_PAIRS
from stages.datasets.registry import LABELLED
from stages.params.clean import CleanParams
from stages.tables.parquet import read_named_tables, read_table, write_table
from stages.tables.schemas import EXAMPLES, EXAMPLES_RAW, HELD_OUT, INSTRUCTIONS, QUESTIONS
from stages.text.cleaning.rules import clean_examples, clean_pairs
from stages.text.cleaning.source_report import overlaps_by_suite, validation


def main(
    raw: Path,
    instructions: Path,
    suites: Path,
    out_examples: Path,
    out_instructions: Path,
    report: Path,
    out_validation: Path,
) -> None:
    """Cleans the listed sets of the folders RAW and INSTRUCTIONS, away from the questions in SUITES.

    REPORT says what each rule left out, OUT_VALIDATION what the sources hold.
    """
    knobs = read_params(CleanParams)
    asked = {name: _asked(read_table(suites / f"{name}.parquet", QUESTIONS)) for name in knobs.suites}
    questions = pl.concat([pl.Series("text", [], dtype=pl.String), *asked.values()])
    rows = read_named_tables(raw, knobs.datasets, EXAMPLES_RAW)
    given = read_named_tables(instructions, knobs.instructions, INSTRUCTIONS)
    examples = clean_examples(rows, questions, knobs.held_out, knobs.max_characters)
    held_out = examples.table.filter(pl.col("part") == HELD_OUT)["text"]
    pairs = clean_pairs(given, questions, held_out)
    write_table(examples.table.select(EXAMPLES.names), EXAMPLES, out_examples)
    write_table(pairs.table, INSTRUCTIONS, out_instructions)
    published = {name: entry.published for name, entry in LABELLED.items()} | {"": PUBLISHED_PAIRS}
    overlaps = overlaps_by_suite(examples.overlapping, pairs.overlapping, asked)
    write_text(out_validation, json.dumps(validation(rows, given, overlaps, published), indent=2) + "\n")
    write_text(report, json.dumps({"rows": examples.counts, "instructions": pairs.counts}, indent=2) + "\n")


def _asked(questions: pl.DataFrame) -> pl.Series:
    """The texts that the questions show a model, few-shot examples among them."""
    texts = pl.col("turns").list.eval(pl.element().struct.field("text")).list.join("\n")
    shown = questions.select(text=texts)["text"]
    shared = questions["shared_prefix"].unique(maintain_order=True)
    return pl.concat([shown, shared.filter(shared != "").alias("text")])


if __name__ == "__main__":
    run(main)
