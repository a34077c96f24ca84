"""Accuracy by condition, and the answers that changed most."""

from math import log
from typing import Any

import polars as pl
import pytest

from stages.page.answers import accuracy, changed_most, wilson
from stages.project.errors import UserError
from stages.text.tables import ANSWERS


def answers(*rows: dict[str, Any]) -> pl.DataFrame:
    common = {"suite": "claims", "condition": "no_opinion", "cluster": "c", "choices": [" (A)", " (B)"], "correct": 0}
    common |= {"logprobs": [-0.5, -1.0], "chosen": 0}
    filled = [{**dict.fromkeys(ANSWERS.columns), **common, **row} for row in rows]
    return pl.DataFrame(filled, schema=ANSWERS.columns)


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    # Wilson's interval as textbooks print it.
    [(0.5, 100, 0.4038, 0.5962), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0)],
)
def test_wilson(share: float, n: int, low: float, high: float) -> None:
    assert list(wilson(share, n)) == pytest.approx([low, high], abs=1e-4)


def test_accuracy_leaves_out_what_has_no_right_answer_and_keeps_order() -> None:
    base = answers(
        {"question": "1", "condition": "wrong_opinion", "chosen": 1, "cluster": "a"},
        {"question": "2", "condition": "wrong_opinion", "chosen": 0, "cluster": "a"},
        {"question": "3", "condition": "no_opinion", "chosen": 0, "cluster": "b"},
        {"question": "4", "condition": "no_opinion", "correct": None},
        {"question": "5", "condition": "no_opinion", "choices": [" to be written"], "logprobs": [-1.0]},
    )
    shares = accuracy(base, base)
    assert shares.select("variant", "condition", "share", "n", "chance").rows() == [
        ("base", "wrong_opinion", 0.5, 2, 0.5),
        ("base", "no_opinion", 1.0, 1, 0.5),
        ("tuned", "wrong_opinion", 0.5, 2, 0.5),
        ("tuned", "no_opinion", 1.0, 1, 0.5),
    ]
    # Two answers of one cluster tell as much as one answer.
    assert shares.row(0, named=True)["low"] == wilson(0.5, 1)[0]


def test_chance_follows_the_number_of_choices() -> None:
    table = answers({"question": "1", "choices": ["a", "b", "c", "d"], "logprobs": [-1.0] * 4})
    assert accuracy(table, table)["chance"].to_list() == [0.25, 0.25]


def test_an_answer_to_be_written_has_no_odds() -> None:
    base = answers({"question": "1", "choices": [" written"], "logprobs": [-1.0]}, {"question": "2"})
    assert changed_most(base, base, 5)["question"].to_list() == ["2"]


def test_changed_most_comes_furthest_first_with_ties_by_name() -> None:
    base = answers({"question": "b"}, {"question": "a"}, {"question": "c", "correct": 1}, {"question": "still"})
    tuned = answers(
        {"question": "b", "logprobs": [-2.0, -1.0]},
        {"question": "a", "logprobs": [-0.5, -2.5]},
        {"question": "c", "logprobs": [-9.0, -1.0], "correct": 1},
        {"question": "still"},
    )
    changed = changed_most(base, tuned, 3)
    assert changed["question"].to_list() == ["c", "a", "b"]
    assert changed.select("base", "tuned").rows() == [(-0.5, 8.0), (0.5, 2.0), (0.5, -1.0)]


def test_log_odds_are_against_all_other_choices_however_unlikely() -> None:
    choices = ["a", "b", "c"]
    likely = answers({"question": "q", "choices": choices, "logprobs": [log(0.5), log(0.25), log(0.25)]})
    unlikely = answers({"question": "q", "choices": choices, "logprobs": [-2000.0, -2001.0, -2001.0]})
    row = changed_most(likely, unlikely, 1).row(0, named=True)
    assert row["base"] == pytest.approx(0.0, abs=1e-6)
    assert row["tuned"] == pytest.approx(1 - log(2), abs=1e-4)


def test_other_questions_are_refused() -> None:
    with pytest.raises(UserError, match="same questions"):
        changed_most(answers({"question": "1"}), answers({"question": "2"}), 1)
