"""Tables of two models' answers: shares, quadrants, shifts and leanings."""

from typing import Any

import polars as pl
import pytest

from stages.page.data.tables import Lean, accuracy, followed, leaning, leans, quadrants, question_set, shifts, wilson
from stages.tables.schemas import ANSWERS


def answers(*rows: dict[str, Any]) -> pl.DataFrame:
    common = {
        "suite": "claims",
        "condition": "no_opinion",
        "cluster": "c",
        "choices": [" (A)", " (B)"],
        "answer_kind": "choice",
        "correct_choice": 0,
    }
    common |= {"item": "zoo:1", "logprobs": [-0.5, -1.0], "chosen": 0}
    filled = [{**dict.fromkeys(ANSWERS.columns), **common, **row} for row in rows]
    return pl.DataFrame(filled, schema=ANSWERS.columns)


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    # Wilson's interval as textbooks print it.
    [(0.5, 100, 0.4038, 0.5962), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0)],
)
def test_wilson(share: float, n: int, low: float, high: float) -> None:
    assert list(wilson(share, n)) == pytest.approx([low, high], abs=1e-4)


def test_accuracy_leaves_out_questions_without_a_right_answer_and_keeps_order() -> None:
    base = answers(
        {"question": "1", "condition": "wrong_opinion", "chosen": 1, "cluster": "a"},
        {"question": "2", "condition": "wrong_opinion", "chosen": 0, "cluster": "a"},
        {"question": "3", "condition": "no_opinion", "chosen": 0, "cluster": "b"},
        {"question": "4", "condition": "no_opinion", "correct_choice": None},
        {"question": "5", "condition": "no_opinion", "answer_kind": "generated"},
    )
    shares = accuracy(base, base)
    assert shares.select("variant", "condition", "share", "n", "chance").rows() == [
        ("base", "wrong_opinion", 0.5, 2, 0.5),
        ("base", "no_opinion", 1.0, 1, 0.5),
        ("tuned", "wrong_opinion", 0.5, 2, 0.5),
        ("tuned", "no_opinion", 1.0, 1, 0.5),
    ]
    # Two answers of one cluster count as one.
    assert shares.row(0, named=True)["low"] == wilson(0.5, 1)[0]


def test_chance_follows_the_number_of_choices() -> None:
    table = answers({"question": "1", "choices": ["a", "b", "c", "d"], "logprobs": [-1.0] * 4})
    assert accuracy(table, table)["chance"].to_list() == [0.25, 0.25]


def test_followed_counts_users_who_are_not_right_by_task() -> None:
    table = answers(
        {"question": "1", "condition": "wrong_opinion", "item": "zoo:1", "user_choice": 1, "chosen": 1},
        {"question": "2", "condition": "right_opinion", "item": "zoo:1", "user_choice": 0, "chosen": 0},
        {"question": "3", "condition": "wrong_opinion", "item": "sky:1", "user_choice": 1, "chosen": 0},
        {"question": "4", "suite": "addition", "condition": "false_wrong_opinion", "user_choice": 1, "chosen": 1},
        {"question": "5", "suite": "opinions", "condition": "agreeing_user", "correct_choice": None, "user_choice": 0},
        {"question": "6", "suite": "opinions", "condition": "no_biography", "correct_choice": None},
    )
    shares = followed(table, table).filter(variant="tuned")
    assert shares.select("suite", "task", "share", "n").rows() == [
        ("claims", "zoo", 1.0, 1),
        ("claims", "sky", 0.0, 1),
        ("addition", "false_wrong_opinion", 1.0, 1),
        ("opinions", "opinions", 1.0, 1),
    ]


def test_the_set_is_a_data_set_a_subject_or_the_suite() -> None:
    mmlu = {"suite": "mmlu_5shot", "cluster": "mmlu_5shot:law"}
    perez = {"suite": "perez_nlp", "cluster": "perez_nlp:Is this long?", "user_choice": 1}
    table = answers(
        {"question": "1", "item": "zoo:1"},
        {"question": "2", "item": "zoo:2", "suite": "claims_numbered"},
        {"question": "3", "item": "7", **mmlu},
        {"question": "4", "item": "8", **mmlu},
        {"question": "5", "item": "7", **perez},
        {"question": "6", "item": "8", **perez},
    )
    assert table.select(question_set()).to_series().to_list() == ["zoo", "zoo", "law", "law", "perez_nlp", "perez_nlp"]


def test_quadrants_are_shares_of_the_answers_to_one_kind_of_user() -> None:
    wrong = {"condition": "wrong_opinion", "user_choice": 1}
    base = answers(
        {"question": "1", **wrong, "chosen": 1},
        {"question": "2", **wrong, "chosen": 1},
        {"question": "3", **wrong, "chosen": 1},
        {"question": "4", **wrong, "chosen": 0},
        {"question": "5", "condition": "right_opinion", "user_choice": 0, "chosen": 0},
        {"question": "6", "chosen": 1},
    )
    assert quadrants(base, base).filter(variant="base").drop("variant", "suite").rows() == [
        ("user wrong", "follows", 3, 0.75),
        ("user wrong", "does not", 1, 0.25),
        ("user right", "follows", 1, 1.0),
        ("user right", "does not", 0, 0.0),
    ]


def test_a_shift_is_towards_the_user_whichever_letter_is_right() -> None:
    base = answers(
        {"question": "1", "item": "zoo:1", "logprobs": [-1.0, -3.0]},
        {"question": "2", "item": "zoo:1", "condition": "wrong_opinion", "user_choice": 1, "logprobs": [-2.0, -1.0]},
        {"question": "3", "item": "zoo:2", "correct_choice": 1, "logprobs": [-3.0, -1.0]},
        {"question": "4", "item": "zoo:2", "correct_choice": 1, "condition": "wrong_opinion", "user_choice": 0,
         "logprobs": [-1.0, -2.0]},
        {"question": "5", "item": "zoo:3", "logprobs": [-1.0, -3.0]},
    )  # fmt: skip
    assert shifts(base, base).filter(variant="base").select("item", "shift").rows() == [("zoo:1", 3.0), ("zoo:2", 3.0)]


def test_only_differences_beyond_chance_are_leanings() -> None:
    shares = {
        "letter": {"A": (0.1, 100), "B": (0.9, 100)},
        "polarity": {"is": (0.4, 10), "is not": (0.7, 10)},
        "truth": {"true": (0.5, 100), "false": (0.0, 0)},
    }
    assert list(leans(shares)) == [Lean("letter", "A", 0.1, "B", 0.9)]


def test_a_model_that_always_says_b_leans_on_the_letter() -> None:
    rows = [
        {"question": str(number), "correct_choice": number % 2, "chosen": 1, "polarity": "is"} for number in range(40)
    ]
    assert leaning(answers(*rows)) == [Lean("letter of the right choice", "A", 0.0, "B", 1.0)]
