"""The BIG-bench tasks, from the bundled archive, that BIG-Bench Hard was selected from: multiple choice, zero-shot.

Their rows differ from those of BIG-Bench Hard, which selected and reworded some. BIG-Bench Hard itself needs the hub;
these tasks do not.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from stages.sources import bigbench
from stages.text.claims.questions import SuiteQuestion, question_table, sample_indices

# The tasks that have at most 26 options with a single best one, and that do not need a special layout.
TASKS = (
    "causal_judgment",
    "date_understanding",
    "disambiguation_qa",
    "formal_fallacies_syllogisms_negation",
    "hyperbaton",
    "logical_deduction/five_objects",
    "logical_deduction/seven_objects",
    "logical_deduction/three_objects",
    "movie_recommendation",
    "navigate",
    "penguins_in_a_table",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects/five_objects",
    "tracking_shuffled_objects/seven_objects",
    "tracking_shuffled_objects/three_objects",
)

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def hard_questions(suite: str, files: Mapping[str, Path], seed: int, count: int) -> pl.DataFrame:
    """`count` questions of each task (0: all), with lettered options; the rows of a task are a cluster."""
    return question_table(suite, _questions(files, seed, count))


def _questions(files: Mapping[str, Path], seed: int, count: int) -> Iterator[SuiteQuestion]:
    for task in TASKS:
        lead, rows = bigbench.read_options(files[bigbench.member(task)])
        for index in sample_indices(seed, f"bigbench_hard {task}", len(rows), count):
            row = rows[index]
            lines = "".join(f"\n ({letter}) {text}" for letter, text in zip(_LETTERS, row.options, strict=False))
            yield SuiteQuestion(
                f"{task}:{row.row}",
                "zero_shot",
                task,
                f"{lead}{row.input.strip()}\n\nChoices:{lines}\n\nAnswer:",
                [f" ({letter})" for letter in _LETTERS[: len(row.options)]],
                correct_choice=row.options.index(row.label),
            )
