"""Reading a task file as labelled examples and as instruction pairs, on an invented set."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from stages.core.errors import UserError
from stages.datasets import parse, rows
from stages.datasets.kinds import BundledPairs, BundledSet
from stages.sources import bigbench
from stages.tables.parquet import read_table, write_table
from stages.tables.schemas import EXAMPLES_RAW, INSTRUCTIONS

LABELS = {"no": "a Toy That Stands", "yes": "a Toy That Rolls"}
TOYS = BundledSet("toys", "toys/wood", LABELS, parse.utterance, licence="MIT")
RHYMES = BundledPairs("rhymes", "toys/rhymes", "Find a rhyme.", "CC0-1.0")


def task(folder: Path, *examples: dict[str, Any]) -> Path:
    path = folder / "task.json"
    path.write_text(json.dumps({"examples": examples}), encoding="utf-8")
    return path


def answered(text: str, best: str) -> dict[str, Any]:
    return {"input": text, "target_scores": {option: int(option == best) for option in ("yes", "no", "maybe")}}


def test_examples(tmp_path: Path) -> None:
    path = task(tmp_path, answered('Utterance: a "red" ball\n', "yes"), answered("Utterance: a cube", "no"))
    table = rows.examples(TOYS, [path], "toys 2.0")
    shared = {
        "dataset": "toys",
        "label_words": ["a Toy That Stands", "a Toy That Rolls"],
        "source": "bigbench/toys/wood",
        "revision": "toys 2.0",
        "split": "default",
        "licence": "MIT",
    }
    assert table.to_dicts() == [
        {"example": "toys:0", "text": '"a red ball"', "label": 1, "cluster": 'toys:a "red" ball\n', "row": 0} | shared,
        {"example": "toys:1", "text": '"a cube"', "label": 0, "cluster": "toys:a cube", "row": 1} | shared,
    ]
    write_table(table, EXAMPLES_RAW, tmp_path / "raw.parquet")
    assert read_table(tmp_path / "raw.parquet", EXAMPLES_RAW).equals(table)


def test_pairs(tmp_path: Path) -> None:
    path = task(tmp_path, {"input": " a cat \n", "target": [" a hat", "a bat"]}, {"input": "snow", "target": "slow"})
    table = rows.pairs(RHYMES, [path], "toys 2.0")
    shared = {
        "set": "rhymes",
        "source": "bigbench/toys/rhymes",
        "revision": "toys 2.0",
        "split": "default",
        "licence": "CC0-1.0",
    }
    assert table.to_dicts() == [
        {"pair": "rhymes:0", "input": "Find a rhyme.\n\na cat", "target": "a hat", "row": 0} | shared,
        {"pair": "rhymes:1", "input": "Find a rhyme.\n\nsnow", "target": "slow", "row": 1} | shared,
    ]
    write_table(table, INSTRUCTIONS, tmp_path / "pairs.parquet")
    assert read_table(tmp_path / "pairs.parquet", INSTRUCTIONS).equals(table)


def test_a_label_that_the_registry_does_not_know_names_file_and_row(tmp_path: Path) -> None:
    path = task(tmp_path, answered("Utterance: a ball", "yes"), answered("Utterance: an egg", "maybe"))
    with pytest.raises(UserError) as caught:
        rows.examples(TOYS, [path], "toys 2.0")
    assert str(caught.value) == f"{path}, example 1: the label is 'maybe', expected one of no, yes"


def test_rows_with_another_label_are_left_out_of_a_set_of_some_labels(tmp_path: Path) -> None:
    path = task(tmp_path, answered("Utterance: an egg", "maybe"), answered("Utterance: a ball", "yes"))
    table = rows.examples(dataclasses.replace(TOYS, some_labels=True), [path], "toys 2.0")
    assert table.select("example", "label").rows() == [("toys:1", 1)]


def test_labels_may_be_targets_and_rows_with_several_are_left_out(tmp_path: Path) -> None:
    path = task(
        tmp_path,
        {"input": "Utterance: a ball", "target": ["yes", "no"]},
        {"input": "Utterance: a cube", "target": ["no"]},
        {"input": "Utterance: an egg", "target": "yes"},
    )
    table = rows.examples(dataclasses.replace(TOYS, read=bigbench.read_single_targets), [path], "toys 2.0")
    assert table.select("example", "label").rows() == [("toys:1", 0), ("toys:2", 1)]


def test_labels_may_be_categories_that_a_row_confirms(tmp_path: Path) -> None:
    path = task(
        tmp_path,
        {"input": "Utterance: a ball \nCategory: yes.", "target": ["Yes."]},
        {"input": "Utterance: a cube \nCategory: yes.", "target": ["No."]},
        {"input": "Utterance: an egg \nCategory: no.", "target": "Yes."},
    )
    table = rows.examples(dataclasses.replace(TOYS, read=bigbench.read_confirmed), [path], "toys 2.0")
    assert table.select("example", "label").rows() == [("toys:0", 1), ("toys:2", 0)]


def test_an_input_of_another_form_names_set_file_row_and_the_input(tmp_path: Path) -> None:
    path = task(tmp_path, answered("Utterance: a ball", "yes"), answered("a ball\nof wood", "yes"))
    with pytest.raises(UserError) as caught:
        rows.examples(TOYS, [path], "toys 2.0")
    assert str(caught.value) == (
        f"toys: {path}, example 1: the input should start with 'Utterance: ', but is 'a ball\\nof wood'"
    )
