"""Reading BIG-bench's JSON: its rows, and one line that names file and row for a file of another form."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.core.errors import UserError
from stages.sources.bigbench import Answer, Choice, member, read_answers, read_choices
from tests.helpers.refusals import refusal_of


def task(folder: Path, *examples: Any) -> Path:
    path = folder / "task.json"
    path.write_text(json.dumps({"name": "toys", "examples": list(examples)}), encoding="utf-8")
    return path


def choice(text: Any = "It rolls.", scores: Any = None) -> dict[str, Any]:
    return {"input": text, "target_scores": {"ball": 1.0, "cube": 0.0} if scores is None else scores}


def refusal(path: Path) -> str:
    """The line that refuses the task at `path`, without the path that it starts with."""
    return refusal_of(lambda: read_choices(path), path).removeprefix(str(path))


def test_a_members_path() -> None:
    assert member("toys/balls") == "bigbench-1.0.0/bigbench/benchmark_tasks/toys/balls/task.json"


def test_choices_have_their_row_and_their_best_option(tmp_path: Path) -> None:
    path = task(
        tmp_path,
        choice(),
        choice("Es kippt –", {"ball": 0, "cube": 0, "cone": 1}),
        choice("", {"ball": -2.5, "cube": -3}),
    )
    assert read_choices(path) == [
        Choice(0, "It rolls.", "ball"),
        Choice(1, "Es kippt –", "cone"),
        Choice(2, "", "ball"),
    ]


def test_answers_have_their_row_and_their_first_target(tmp_path: Path) -> None:
    path = task(
        tmp_path, {"input": "What rolls?", "target": ["a ball", "balls"]}, {"input": "What tips?", "target": "it"}
    )
    assert read_answers(path) == [Answer(0, "What rolls?", "a ball"), Answer(1, "What tips?", "it")]


@pytest.mark.parametrize("text", ['{"examples": [', "", "[1, 2]", '{"name": "toys"}', "3", '{"examples": [\udcff'])
def test_a_file_of_another_form_is_no_task(tmp_path: Path, text: str) -> None:
    path = tmp_path / "task.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    line = refusal(path)
    assert line.startswith(" is not a BIG-bench task (")
    assert line.endswith("; delete it and run this again")


def test_a_task_without_examples_is_refused(tmp_path: Path) -> None:
    assert refusal(task(tmp_path)) == " is a BIG-bench task without examples"


@pytest.mark.parametrize("scores", [{"ball": 1, "cube": 1}, {"ball": 0.5, "cube": 0.5, "cone": 0.1}, {}])
def test_no_single_best_option_names_the_row(tmp_path: Path, scores: Any) -> None:
    line = refusal(task(tmp_path, choice(), choice(scores=scores)))
    assert line == f", example 1: target_scores is {scores!r}, expected exactly one best option"


@pytest.mark.parametrize("scores", [["ball"], "ball", {"ball": "1", "cube": 0}, {"ball": None}, {"ball": True}])
def test_scores_that_are_no_numbers_of_options_name_the_row(tmp_path: Path, scores: Any) -> None:
    line = refusal(task(tmp_path, choice(), choice(scores=scores)))
    assert line == f", example 1: target_scores is {scores!r}, expected options with numbers"


def test_an_example_without_keys_names_the_row(tmp_path: Path) -> None:
    assert refusal(task(tmp_path, choice(), "text")) == ", example 1 is 'text', expected an object with keys"


@pytest.mark.parametrize("text", [None, 3, ["It rolls."]])
def test_an_input_that_is_no_text_names_the_row(tmp_path: Path, text: Any) -> None:
    assert refusal(task(tmp_path, choice(text))) == f", example 0: the input is {text!r}, expected text"


@pytest.mark.parametrize("target", [None, [], [3], 3.5])
def test_a_target_that_is_no_text_names_the_row(tmp_path: Path, target: Any) -> None:
    path = task(tmp_path, {"input": "a", "target": "b"}, {"input": "c", "target": target})
    with pytest.raises(UserError) as caught:
        read_answers(path)
    assert str(caught.value) == f"{path}, example 1: the target is {target!r}, expected text"
