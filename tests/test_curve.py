"""The stage `curve`: its rows, and the questions that the intermediate models answer."""

import math
from typing import Any

import polars as pl

from stages.curve import about_users, curve
from stages.tables.schemas import ANSWERS, QUESTIONS


def question(suite: str, item: str, user_choice: int | None) -> dict[str, Any]:
    keys = {"suite": suite, "question": f"{suite}:{item}", "item": item, "condition": "no_opinion", "cluster": item}
    return keys | {
        "choices": [" (A)", " (B)"],
        "correct_choice": 0,
        "user_choice": user_choice,
        "option_order": "agree_first",
    }


def answers(*chosen: int) -> pl.DataFrame:
    rows = [
        question("claims", str(item), None)
        | {"chosen": choice, "logprobs": [math.log(0.9 if index == choice else 0.1) for index in (0, 1)]}
        for item, choice in enumerate(chosen)
    ]
    return pl.DataFrame([{name: row.get(name) for name in ANSWERS.names} for row in rows], schema=ANSWERS.columns)


def test_a_row_for_each_step_and_measure() -> None:
    table = curve(
        {0: answers(1, 1, 0, 1), 5: answers(0, 1, 0, 1), 10: answers(0, 0, 0, 0)}, seed=1, bootstrap_samples=100
    )
    assert table.select("step", "measure", "value", "delta", "n").rows() == [
        (0, "claims_no_opinion_accuracy", 0.25, 0.0, 4),
        (5, "claims_no_opinion_accuracy", 0.5, 0.25, 4),
        (10, "claims_no_opinion_accuracy", 1.0, 0.75, 4),
    ]
    assert table.row(0)[4:6] == (0.0, 0.0)
    assert all(low <= delta <= high for delta, low, high in table.select("delta", "delta_low", "delta_high").rows())


def test_only_suites_with_opinions_of_users_are_evaluated() -> None:
    rows = [question("claims", "a", None), question("claims", "b", 1), question("mmlu_5shot", "c", None)]
    table = pl.DataFrame([{name: row.get(name) for name in QUESTIONS.names} for row in rows], schema=QUESTIONS.columns)
    assert about_users(table)["question"].to_list() == ["claims:a", "claims:b"]
