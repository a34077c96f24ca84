"""Stage `clean`: removes unusable examples and instruction pairs, counts them, and splits off held-out examples."""

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
    """Cleans the listed sets of the folders RAW and INSTRUCTIONS; removes what overlaps with the questions in SUITES.

    Writes to REPORT what each rule removed, and to OUT_VALIDATION what the sources contain.
    """
    params = read_params(CleanParams)
    texts = {name: _question_texts(read_table(suites / f"{name}.parquet", QUESTIONS)) for name in params.suites}
    questions = pl.concat([pl.Series("text", [], dtype=pl.String), *texts.values()])
    raw_examples = read_named_tables(raw, params.datasets, EXAMPLES_RAW)
    raw_pairs = read_named_tables(instructions, params.instructions, INSTRUCTIONS)
    examples = clean_examples(raw_examples, questions, params.held_out, params.max_characters)
    held_out = examples.table.filter(pl.col("part") == HELD_OUT)["text"]
    pairs = clean_pairs(raw_pairs, questions, held_out)
    write_table(examples.table.select(EXAMPLES.names), EXAMPLES, out_examples)
    write_table(pairs.table, INSTRUCTIONS, out_instructions)
    published = {name: entry.published for name, entry in LABELLED.items()} | {"": PUBLISHED_PAIRS}
    overlaps = overlaps_by_suite(examples.overlapping, pairs.overlapping, texts)
    counts = validation(raw_examples, raw_pairs, overlaps, published)
    write_text(out_validation, json.dumps(counts, indent=2) + "\n")
    write_text(report, json.dumps({"rows": examples.counts, "instructions": pairs.counts}, indent=2) + "\n")


def _question_texts(questions: pl.DataFrame) -> pl.Series:
    """The texts that a model reads with the questions, including their few-shot examples."""
    text = pl.col("turns").list.eval(pl.element().struct.field("text")).list.join("\n")
    conversations = questions.select(text=text)["text"]
    prefixes = questions["shared_prefix"].unique(maintain_order=True)
    return pl.concat([conversations, prefixes.filter(prefixes != "").alias("text")])


if __name__ == "__main__":
    run(main)
