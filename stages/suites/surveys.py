r"""Questions of Perez et al. (2022, arXiv 2212.09251): a user whose biography suggests a view asks for the model's.

A line of a file: `{"question": "Hello, my name is …\n (A) …\n (B) …\n\nAnswer:", "answer_matching_behavior": " (A)",
"answer_not_matching_behavior": " (B)"}`. In the philosophers' file the last value is a list of one or more answers.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from stages.core.errors import UserError
from stages.text.claims.questions import SuiteQuestion, question_table, sample_indices

_KEYS = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
_ANSWER = re.compile(r" \([A-Z]\)")
_OPTIONS = re.compile(r"\n+(Choices:\n)? \(A\)")
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z])")


@dataclass(frozen=True)
class Survey:
    """The form of one file.

    After the biography, all its questions start with `question_start` (empty: with different words). Where
    `has_answer_lists`, the answers that do not match the user are a list, otherwise a single answer.
    """

    question_start: str
    answer_prefix: str
    has_answer_lists: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a file: a question, the answers that it offers, and the one that matches the user's view."""

    row: int
    question: str
    choices: tuple[str, ...]
    matching: str


def survey_questions(suite: str, file: Path, survey: Survey, seed: int, count: int) -> pl.DataFrame:
    """`count` questions of the file (0: all), each with and without its biography.

    There is no right answer. Lines with the same question are one cluster. The question without a biography has no
    user and so no `user_choice`; both have the same `item`, the number of their line.

    Raises:
        UserError: the file is damaged, a line has another form, or it is the file of another survey.
    """
    lines = [_parse_line(suite, file, row, text, survey) for row, text in enumerate(_read_lines(suite, file))]
    sample = [lines[row] for row in sample_indices(seed, suite, len(lines), count)]
    questions = []
    for line, question in zip(sample, _without_biographies(suite, file, sample, survey), strict=True):
        alone = SuiteQuestion(
            str(line.row), "no_biography", question, question, line.choices, answer_prefix=survey.answer_prefix
        )
        matching = line.choices.index(line.matching)
        questions += [replace(alone, condition="biography", text=line.question, user_choice=matching), alone]
    return question_table(suite, questions)


def refuse_copy(suite: str, file: Path, other: Path) -> None:
    """Refuses a file with the content of another survey, as the philosophers' file on the hub once had.

    Raises:
        UserError: the two files are equal.
    """
    if file.read_bytes() == other.read_bytes():
        raise UserError(
            f"{suite}: {file} is a copy of {other}, a known mistake of the hub's repository; put the right file (from "
            "github.com/anthropics/evals, 7,394,600 bytes) into a folder in the hub's layout and set hub in "
            "params.yaml to that folder"
        )


def _read_lines(suite: str, file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{suite}: {file} is not UTF-8 (byte {error.start}); get the file again") from None


def _parse_line(suite: str, file: Path, row: int, text: str, survey: Survey) -> Line:
    try:
        entry = json.loads(text)
        question, matching, others = (entry[key] for key in _KEYS)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{suite}: {file}, line {row + 1} is cut short or has another form ({error!r})") from None
    answers: list[Any] = [matching, *(others if isinstance(others, list) else [others])]
    are_valid = all(isinstance(answer, str) and _ANSWER.fullmatch(answer) for answer in answers)
    if not isinstance(question, str) or not are_valid:
        raise UserError(f"{suite}: {file}, line {row + 1}: the answers are {answers!r}, expected texts such as ' (A)'")
    if isinstance(others, list) != survey.has_answer_lists or survey.question_start not in question:
        expected = "a list" if survey.has_answer_lists else "one answer"
        raise UserError(
            f"{suite}: {file}, line {row + 1} is not a question of this survey (expected {survey.question_start!r} in "
            f"the question and {expected} in {_KEYS[2]}); the file is another survey's"
        )
    return Line(row, question, tuple(sorted(set(answers))), matching)


def _without_biographies(suite: str, file: Path, lines: Sequence[Line], survey: Survey) -> list[str]:
    start = survey.question_start
    if start:
        return [start + line.question.rpartition(start)[2] for line in lines]
    parts = [_split_options(suite, file, line) for line in lines]
    # Two lines ask the same question if they have the same last sentence and the same options.
    keys = [(_SENTENCE_END.split(text)[-1], options) for text, options in parts]
    texts_by_key: dict[tuple[str, str], list[str]] = {}
    for key, (text, _) in zip(keys, parts, strict=True):
        texts_by_key.setdefault(key, []).append(text)
    return [_common_end(texts_by_key[key]) + key[1] for key in keys]


def _split_options(suite: str, file: Path, line: Line) -> tuple[str, str]:
    """The text before the options, and the options."""
    options = _OPTIONS.search(line.question)
    if options is None:
        raise UserError(f"{suite}: {file}, line {line.row + 1} has no option (A)")
    return line.question[: options.start()], line.question[options.start() :]


def _common_end(texts: Sequence[str]) -> str:
    """The sentences at the end of all texts, which are the question; the last sentence if all texts are equal."""
    if len(set(texts)) == 1:
        return _SENTENCE_END.split(texts[0])[-1]
    end = os.path.commonprefix([text[::-1] for text in texts])[::-1].lstrip()
    # The common end may begin inside a sentence: it does not if a sentence ends before it in all texts.
    starts_sentence = all(text.removesuffix(end).rstrip().endswith((".", "!", "?")) for text in texts)
    return end if starts_sentence else _SENTENCE_END.split(end, maxsplit=1)[-1]
