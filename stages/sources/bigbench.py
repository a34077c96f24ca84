"""Reads BIG-bench's JSON tasks, the format of the bundled archive `bigbench` (google/BIG-bench, Apache-2.0).

A row of metaphor_boolean: `{"input": "… <--> …", "target_scores": {"True": 1.0, "False": 0.0}}`. Generative tasks have
`target`, a string or a list of accepted strings, in place of `target_scores`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import UserError

ARCHIVE = "bigbench"
_ROOT = "bigbench-1.0.0/bigbench/benchmark_tasks"


@dataclass(frozen=True)
class Choice:
    """A multiple-choice row: its number in the file, its input and its best option (the one with the highest score)."""

    row: int
    input: str
    label: str


@dataclass(frozen=True)
class Options:
    """A multiple-choice row with all its options, in the file's order, and the best of them."""

    row: int
    input: str
    options: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class Answer:
    """A generative row: its number in the file, its input and its first accepted target."""

    row: int
    input: str
    target: str


def member(task: str) -> str:
    """The path of a task's file in the archive."""
    return f"{_ROOT}/{task}/task.json"


def read_choices(path: Path) -> list[Choice]:
    """The rows of a multiple-choice task.

    Raises:
        UserError: a row does not have exactly one best option, or the file has another form.
    """
    return [
        Choice(row, _input(path, row, example), _best_option(path, row, example))
        for row, example in enumerate(_examples(path))
    ]


def read_options(path: Path) -> tuple[str, list[Options]]:
    """The text before each question of a multiple-choice task, and its rows with all their options."""
    rows = [
        Options(row, _input(path, row, example), tuple(example["target_scores"]), best)
        for row, example in enumerate(_examples(path))
        if (best := _best_option(path, row, example))
    ]
    lead = str(_read(path).get("task_prefix", "")).strip()
    return f"{lead}\n\n" if lead else "", rows


def read_single_targets(path: Path) -> list[Choice]:
    """The rows of a generative task whose targets are labels; rows with several targets are left out."""
    return [
        Choice(row, _input(path, row, example), _target(path, row, example))
        for row, example in enumerate(_examples(path))
        if not isinstance(example.get("target"), list) or len(example["target"]) == 1
    ]


def read_confirmed(path: Path) -> list[Choice]:
    """The rows of a generative task that asks whether an input belongs to the category it names, where it does."""
    confirmed = (answer for answer in read_answers(path) if answer.target == "Yes.")
    return [Choice(row.row, row.input, row.input.rpartition("\nCategory: ")[2].strip(". ")) for row in confirmed]


def read_answers(path: Path) -> list[Answer]:
    """The rows of a generative task."""
    return [
        Answer(row, _input(path, row, example), _target(path, row, example))
        for row, example in enumerate(_examples(path))
    ]


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _examples(path: Path) -> list[dict[str, Any]]:
    try:
        examples = _read(path)["examples"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a BIG-bench task ({error!r}); delete it and run this again") from None
    if not isinstance(examples, list) or not examples:
        raise UserError(f"{path} is a BIG-bench task without examples")
    for row, example in enumerate(examples):
        if not isinstance(example, dict):
            raise UserError(f"{path}, example {row} is {example!r}, expected an object with keys")
    return examples


def _input(path: Path, row: int, example: dict[str, Any]) -> str:
    text = example.get("input")
    if not isinstance(text, str):
        raise UserError(f"{path}, example {row}: the input is {text!r}, expected text")
    return text


def _best_option(path: Path, row: int, example: dict[str, Any]) -> str:
    scores = example.get("target_scores")
    if not isinstance(scores, dict) or not all(type(score) in (int, float) for score in scores.values()):
        raise UserError(f"{path}, example {row}: target_scores is {scores!r}, expected options with numbers")
    if list(scores.values()).count(max(scores.values(), default=0)) != 1:
        raise UserError(f"{path}, example {row}: target_scores is {scores!r}, expected exactly one best option")
    return str(max(scores, key=lambda option: scores[option]))


def _target(path: Path, row: int, example: dict[str, Any]) -> str:
    target = example.get("target")
    first = target[0] if isinstance(target, list) and target else target
    if not isinstance(first, str):
        raise UserError(f"{path}, example {row}: the target is {target!r}, expected text")
    return first
