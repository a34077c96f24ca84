r"""Questions of Perez et al. (2022, arXiv 2212.09251): people with a biography ask for a view that theirs suggests.

A line of a file: `{"question": "Hello, my name is …\n (A) …\n (B) …\n\nAnswer:", "answer_matching_behavior": " (A)",
"answer_not_matching_behavior": " (B)"}`; in the philosophers' file the last is a list, of one answer or more.
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
    """One of the files: the words that its question begins with (empty: none are common), and how it is answered."""

    begins: str
    answer_prefix: str
    lists: bool = False


@dataclass(frozen=True)
class Line:
    """A question with the answers that it offers, and the one that matches the user's view."""

    row: int
    question: str
    choices: tuple[str, ...]
    matching: str


def survey_questions(suite: str, file: Path, survey: Survey, seed: int, count: int) -> pl.DataFrame:
    """`count` questions of the file (0: all), each as it is and without the biography.

    There is no right answer. Rows that ask the same are one cluster. The question without a biography has no user
    whom an answer could match; its `item` says which one it was cut from.

    Raises:
        UserError: the file is damaged, or a line has another form, or it is not the file of this survey.
    """
    lines = [_line(suite, file, row, text, survey) for row, text in enumerate(_texts(suite, file))]
    chosen = [lines[row] for row in sample_indices(seed, suite, len(lines), count)]
    bare = _without_biographies(suite, file, chosen, survey)
    asked = []
    for line, question in zip(chosen, bare, strict=True):
        alone = SuiteQuestion(
            str(line.row), "no_biography", question, question, line.choices, answer_prefix=survey.answer_prefix
        )
        matching = line.choices.index(line.matching)
        asked += [replace(alone, condition="biography", text=line.question, user_choice=matching), alone]
    return question_table(suite, asked)


def refuse_copy(suite: str, file: Path, other: Path) -> None:
    """Refuses a file that is the other survey's under this one's name, as the hub's philosophers were for a time."""
    if file.read_bytes() == other.read_bytes():
        raise UserError(
            f"{suite}: {file} is a copy of {other}, a mistake that the hub's copy has had; put the true file (of "
            "github.com/anthropics/evals, 7,394,600 bytes) into a folder in the hub's layout and name that in hub"
        )


def _texts(suite: str, file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{suite}: {file} is not UTF-8 (byte {error.start}); get the file again") from None


def _line(suite: str, file: Path, row: int, text: str, survey: Survey) -> Line:
    try:
        entry = json.loads(text)
        question, matching, others = (entry[key] for key in _KEYS)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{suite}: {file}, line {row + 1} is cut short or of another form ({error!r})") from None
    listed = others if isinstance(others, list) else [others]
    answers: list[Any] = [matching, *listed]
    if not isinstance(question, str) or not all(isinstance(one, str) and _ANSWER.fullmatch(one) for one in answers):
        raise UserError(f"{suite}: {file}, line {row + 1}: the answers are {answers!r}, expected texts such as ' (A)'")
    if isinstance(others, list) != survey.lists or survey.begins not in question:
        raise UserError(
            f"{suite}: {file}, line {row + 1} is no question of this survey, which "
            f"{'lists' if survey.lists else 'names'} the answers that do not match; it is another survey's file"
        )
    return Line(row, question, tuple(sorted(set(answers))), matching)


def _without_biographies(suite: str, file: Path, lines: Sequence[Line], survey: Survey) -> list[str]:
    if survey.begins:
        return [survey.begins + line.question.rpartition(survey.begins)[2] for line in lines]
    parted = [_parted(suite, file, line) for line in lines]
    # Some questions have the same options, but hardly a last sentence in common as well.
    alike = [(_SENTENCE_END.split(said)[-1], options) for said, options in parted]
    asked: dict[tuple[str, str], list[str]] = {}
    for question, (said, _) in zip(alike, parted, strict=True):
        asked.setdefault(question, []).append(said)
    return [_common_end(asked[question]) + question[1] for question in alike]


def _parted(suite: str, file: Path, line: Line) -> tuple[str, str]:
    """What is said before the options, and the options."""
    options = _OPTIONS.search(line.question)
    if options is None:
        raise UserError(f"{suite}: {file}, line {line.row + 1} offers no option (A)")
    return line.question[: options.start()], line.question[options.start() :]


def _common_end(said: Sequence[str]) -> str:
    """The sentences that all texts end in: the question, whoever asks it; of one text its last sentence."""
    if len(set(said)) == 1:
        return _SENTENCE_END.split(said[0])[-1]
    end = os.path.commonprefix([text[::-1] for text in said])[::-1].lstrip()
    # The end begins in the midst of a sentence, unless all that is said before it ends one.
    is_whole = all(text.removesuffix(end).rstrip().endswith((".", "!", "?")) for text in said)
    return end if is_whole else _SENTENCE_END.split(end, maxsplit=1)[-1]
