"""Bundled tasks of BIG-bench that BIG-Bench Hard was cut from: multiple choice, without examples.

Their rows differ from BIG-Bench Hard's, which chose and reworded some; that needs the hub, these do not.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from stages.sources import bigbench
from stages.text.claims.questions import SuiteQuestion, question_table, sample_indices

# Those whose options are at most 26 and have one best each, and that ask nothing of a layout.
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
    """`count` questions a task (0: all), their options lettered; the rows of a task are a cluster."""
    return question_table(suite, _asked(files, seed, count))


def _asked(files: Mapping[str, Path], seed: int, count: int) -> Iterator[SuiteQuestion]:
    for task in TASKS:
        lead, options = bigbench.read_options(files[bigbench.member(task)])
        for place in sample_indices(seed, f"bigbench_hard {task}", len(options), count):
            choice = options[place]
            listed = "".join(f"\n ({letter}) {text}" for letter, text in zip(_LETTERS, choice.options, strict=False))
            yield SuiteQuestion(
                f"{task}:{choice.row}",
                "zero_shot",
                task,
                f"{lead}{choice.input.strip()}\n\nChoices:{listed}\n\nAnswer:",
                [f" ({letter})" for letter in _LETTERS[: len(choice.options)]],
                correct_choice=choice.options.index(choice.label),
            )
