"""The schema of every table under data/, declared once for writers, readers (`stages.tables.parquet`) and tests.

data/README.md is the data dictionary for people; a test keeps its tables and columns equal to these.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

Columns = Mapping[str, pl.DataType | type[pl.DataType]]

# The parts of the examples: for training, and for measuring only.
TRAIN, HELD_OUT = "train", "held_out"
# How a question is answered: with the most likely of its choices, or in the model's own words, which are compared with
# its only choice.
CHOSEN, WRITTEN = "choice", "generated"

TURNS = pl.List(pl.Struct({"role": pl.String, "text": pl.String}))

_PROVENANCE: Columns = {
    "source": pl.String,
    "revision": pl.String,
    "split": pl.String,
    "row": pl.Int64,
    "licence": pl.String,
}

_QUESTION: Columns = {
    "suite": pl.String,
    "question": pl.String,
    "item": pl.String,
    "condition": pl.String,
    "cluster": pl.String,
    "turns": TURNS,
    "shared_prefix": pl.String,
    "answer_prefix": pl.String,
    "choices": pl.List(pl.String),
    "answer_kind": pl.String,
    "correct_choice": pl.Int32,
    "user_choice": pl.Int32,
    "polarity": pl.String,
    "option_order": pl.String,
}

_PROMPT: Columns = {
    "prompt": pl.String,
    "example": pl.String,
    "dataset": pl.String,
    "cluster": pl.String,
    "claim": pl.String,
    "form": pl.String,
    "polarity": pl.String,
    "claim_is_true": pl.Boolean,
    "opinion": pl.String,
    "option_order": pl.String,
    "turns": TURNS,
    "no_opinion_turns": TURNS,
    "no_opinion_turns_swapped": TURNS,
    "answer_prefix": pl.String,
    "choices": pl.List(pl.String),
    "correct_choice": pl.Int32,
    "user_choice": pl.Int32,
}

_JUDGED: Columns = {
    **_PROMPT,
    "logprobs": pl.List(pl.Float32),
    "logprobs_swapped": pl.List(pl.Float32),
    "margin": pl.Float32,
    "margin_swapped": pl.Float32,
}


@dataclass(frozen=True)
class Schema:
    """A table's columns with their types, in order, and its key: the columns whose values together identify a row."""

    name: str
    columns: Columns
    key: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.columns)


EXAMPLES_RAW = Schema(
    "raw",
    {
        "example": pl.String,
        "dataset": pl.String,
        "text": pl.String,
        "label": pl.Int32,
        "label_words": pl.List(pl.String),
        "cluster": pl.String,
        **_PROVENANCE,
    },
    ("example",),
)
EXAMPLES = Schema("examples", {**EXAMPLES_RAW.columns, "part": pl.String}, ("example",))
INSTRUCTIONS = Schema(
    "instructions",
    {"pair": pl.String, "set": pl.String, "input": pl.String, "target": pl.String, **_PROVENANCE},
    ("pair",),
)
LESSONS = Schema(
    "lessons",
    {
        "row": pl.String,
        "lesson": pl.String,
        "group": pl.String,
        "turns": TURNS,
        "answer_prefix": pl.String,
        "target": pl.String,
    },
    ("row",),
)
QUESTIONS = Schema("questions", _QUESTION, ("question",))
PROMPTS = Schema("prompts", _PROMPT, ("prompt",))
JUDGED = Schema("judged", _JUDGED, ("prompt",))
FILTERED = Schema("filtered", _JUDGED, ("prompt",))
# Kinds of rows in a mixture.
GENERATED, INSTRUCTION = "generated", "instruction"
MIXTURE = Schema(
    "mixture",
    {
        "position": pl.Int64,
        "kind": pl.String,
        "source": pl.String,
        "row_id": pl.String,
        "epoch": pl.Int32,
        "turns": TURNS,
        "answer_prefix": pl.String,
        "target": pl.String,
    },
    ("position",),
)
VALIDATION = Schema(
    "validation",
    {"source": pl.String, "row_id": pl.String, "turns": TURNS, "answer_prefix": pl.String, "target": pl.String},
    ("source", "row_id"),
)
ANSWERS = Schema(
    "answers",
    {
        "suite": pl.String,
        "question": pl.String,
        "item": pl.String,
        "condition": pl.String,
        "cluster": pl.String,
        "choices": pl.List(pl.String),
        "answer_kind": pl.String,
        "logprobs": pl.List(pl.Float32),
        "margin": pl.Float32,
        "chosen": pl.Int32,
        "generated": pl.String,
        "correct_choice": pl.Int32,
        "user_choice": pl.Int32,
        "polarity": pl.String,
        "option_order": pl.String,
    },
    ("question",),
)

SCHEMAS = (
    EXAMPLES_RAW,
    INSTRUCTIONS,
    QUESTIONS,
    EXAMPLES,
    LESSONS,
    PROMPTS,
    JUDGED,
    FILTERED,
    MIXTURE,
    VALIDATION,
    ANSWERS,
)

# The tables in reports/sweeps/, one CSV file for each sweep.
SWEEP_COLUMNS: Mapping[str, type[pl.DataType]] = {
    "setting": pl.String,
    "model": pl.String,
    "measure": pl.String,
    "base": pl.Float64,
    "tuned": pl.Float64,
    "delta": pl.Float64,
    "delta_low": pl.Float64,
    "delta_high": pl.Float64,
    "n": pl.Int64,
}
