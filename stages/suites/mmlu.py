"""MMLU (Hendrycks et al. 2021, arXiv 2009.03300): four choices in 57 subjects, five-shot or zero-shot.

The few-shot examples are those of `dev`. With a chain of thought there are none: those of the literature were written
for that purpose and are not part of MMLU.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl

from stages.core.errors import UserError
from stages.sources.hub_tables import read_rows
from stages.tables.schemas import WRITTEN
from stages.text.claims.questions import THINKING, SuiteQuestion, question_table, sample_indices

SHOTS = 5
SUBJECTS = 57

_COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "question": pl.String,
    "subject": pl.String,
    "choices": pl.List(pl.String),
    "answer": pl.Int64,
}
_LETTERS = "ABCD"

# How a question is asked: five-shot or zero-shot, where the model chooses a letter, or with a chain of thought, where
# it writes its answer.
MmluForm = Literal["five_shot", "zero_shot", "chain_of_thought"]

_TASK = '\n\nThink step by step, and end with "So the answer is" and the letter in parentheses.'


def mmlu_questions(
    suite: str, dev: Mapping[str, Path], test: Mapping[str, Path], form: MmluForm, seed: int, count: int
) -> pl.DataFrame:
    """`count` questions of `test` for each subject (0: all), in one form.

    In the form five_shot, the five examples of `dev` are the shared prefix of their subject's questions. The rows of a
    subject are a cluster.

    Raises:
        UserError: a file is damaged or has another form, or `dev` does not have five examples for each subject.
    """
    examples = _by_subject(suite, dev)
    if len(examples) != SUBJECTS or any(len(rows) != SHOTS for rows in examples.values()):
        raise UserError(f"{suite}: {_names(dev)} must have {SHOTS} examples for each of {SUBJECTS} subjects")
    prefixes = {subject: _prefix(subject, rows) for subject, rows in examples.items()}
    return question_table(suite, _questions(_by_subject(suite, test), form, prefixes, seed, count))


def _questions(
    tests: Mapping[str, list[Any]], form: MmluForm, prefixes: Mapping[str, str], seed: int, count: int
) -> Iterator[SuiteQuestion]:
    for subject, rows in tests.items():
        for index in sample_indices(seed, f"mmlu {subject}", len(rows), count):
            row = rows[index]
            if form == "chain_of_thought":
                yield _chain_of_thought_question(row, subject)
            else:
                shots = form == "five_shot"
                text = _text(row) if shots else _heading(subject) + _text(row)
                prefix = prefixes[subject] if shots else ""
                choices = [f" {letter}" for letter in _LETTERS]
                yield SuiteQuestion(str(row["row"]), form, subject, text, choices, row["answer"], shared_prefix=prefix)


def _chain_of_thought_question(row: Any, subject: str) -> SuiteQuestion:
    options = "".join(f"\n({letter}) {choice}" for letter, choice in zip(_LETTERS, row["choices"], strict=True))
    text = _heading(subject) + row["question"].strip() + options + _TASK
    expected = [f" ({_LETTERS[row['answer']]})"]
    return SuiteQuestion(
        str(row["row"]), "chain_of_thought", subject, text, expected, 0, answer_prefix=THINKING, answer_kind=WRITTEN
    )


def _by_subject(suite: str, files: Mapping[str, Path]) -> dict[str, list[Any]]:
    table = read_rows(suite, list(files.values()), _COLUMNS)
    wrong = table.filter((pl.col("choices").list.len() != len(_LETTERS)) | ~pl.col("answer").is_between(0, 3))
    if not wrong.is_empty():
        raise UserError(
            f"{suite}: {_names(files)}, row {wrong['row'][0]} must have four choices and an answer from 0 to 3"
        )
    parts = table.partition_by("subject", maintain_order=True, as_dict=True)
    return {str(subject): part.to_dicts() for (subject,), part in parts.items()}


def _names(files: Mapping[str, Path]) -> str:
    return ", ".join(map(str, files.values()))


def _heading(subject: str) -> str:
    return f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"


def _prefix(subject: str, examples: list[Any]) -> str:
    shots = (f"Human: {_text(row)}\n\nAssistant: {_LETTERS[row['answer']]}\n\n" for row in examples)
    return _heading(subject) + "".join(shots)


def _text(row: Any) -> str:
    options = "".join(f"\n{letter}. {choice}" for letter, choice in zip(_LETTERS, row["choices"], strict=True))
    return f"{row['question'].strip()}{options}\nAnswer:"
