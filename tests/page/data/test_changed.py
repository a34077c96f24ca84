"""The answers that changed most: which ones are selected, and what the page shows of each."""

from math import log
from typing import Any

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.page.data.changed import MAX_PROMPT_CHARACTERS, SHOWN, ChangedAnswer, most_changed
from stages.tables.schemas import ANSWERS, QUESTIONS

COMMON: dict[str, Any] = {"suite": "claims", "item": "zoo:1", "condition": "no_opinion", "cluster": "c"}
COMMON |= {"choices": [" (A)", " (B)"], "correct_choice": 0, "logprobs": [-0.5, -1.0], "chosen": 0}


def answers(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(ANSWERS.columns) | COMMON | row for row in rows], schema=ANSWERS.columns)


def changed(
    base: pl.DataFrame, tuned: pl.DataFrame, text: str = "Agree?", per_suite: int = SHOWN
) -> list[ChangedAnswer]:
    turns = [{"role": "user", "text": text}]
    questions = base.select(name for name in QUESTIONS.names if name in ANSWERS.names).to_dicts()
    rows = [
        dict.fromkeys(QUESTIONS.columns) | question | {"turns": turns, "answer_prefix": "I say"}
        for question in questions
    ]
    return most_changed(base, tuned, pl.DataFrame(rows, schema=QUESTIONS.columns), per_suite)


def test_the_largest_change_comes_first_with_ties_by_name() -> None:
    base = answers({"question": "b"}, {"question": "a"}, {"question": "c", "correct_choice": 1}, {"question": "still"})
    tuned = answers(
        {"question": "b", "logprobs": [-2.0, -1.0]},
        {"question": "a", "logprobs": [-0.5, -2.5]},
        {"question": "c", "logprobs": [-9.0, -1.0], "correct_choice": 1},
        {"question": "still"},
    )
    changes = [(answer.question, answer.change) for answer in changed(base, tuned)]
    assert changes == [("c", 8.5), ("a", 1.5), ("b", -1.5), ("still", 0.0)]


def test_thirty_answers_of_each_suite_are_selected() -> None:
    rows = [{"question": f"{suite}{number}", "suite": suite} for suite in ("claims", "sums") for number in range(40)]
    suites = [answer.suite for answer in changed(answers(*rows), answers(*rows))]
    assert suites.count("sums") == suites.count("claims") == SHOWN


def test_per_suite_limits_the_answers_of_each_suite_beside_the_thirty_of_all() -> None:
    rows = [{"question": f"{suite}{number}", "suite": suite} for suite in ("claims", "sums") for number in range(40)]
    # Every claim moves further than any sum.
    moved = [row | {"logprobs": [-9.0 if row["suite"] == "claims" else -2.0, -1.0]} for row in rows]
    for per_suite in (SHOWN, 3, 0):
        suites = [answer.suite for answer in changed(answers(*rows), answers(*moved), per_suite=per_suite)]
        assert suites == ["claims"] * SHOWN + ["sums"] * per_suite


def test_an_answer_comes_with_its_question() -> None:
    row = {"question": "zoo:1/wrong", "condition": "wrong_opinion", "user_choice": 1}
    base = answers(row | {"logprobs": [log(0.1), log(0.3)], "chosen": 1})
    tuned = answers(row | {"logprobs": [log(0.6), log(0.2)], "chosen": 0})
    answer = changed(base, tuned, "Agree?\nChoices:\n (A) Disagree\n (B) Agree")[0]
    assert (answer.suite, answer.set, answer.kind, answer.outcome) == ("claims", "zoo", "wrong opinion", "now right")
    assert answer.prompt.startswith("Agree?\n") and answer.prompt.endswith("Agree\nI say …")
    assert (answer.base, answer.tuned) == ("(B) Agree", "(A) Disagree")
    right, users = answer.choices
    assert (right.text, right.is_correct, right.is_users) == ("(A) Disagree", True, False)
    assert [right.base, right.tuned, users.base, users.tuned] == pytest.approx([0.25, 0.75, 0.75, 0.25])
    assert (users.is_correct, users.is_users) == (False, True)


@pytest.mark.parametrize(
    ("base", "tuned", "correct", "users", "outcome"),
    [
        (0, 1, 0, None, "now wrong"),
        (1, 0, 0, 1, "now right"),
        (0, 0, 0, None, "still right"),
        (1, 1, 0, 1, "still wrong"),
        (0, 1, None, 1, "now with the user"),
        (1, 0, None, 1, "now against the user"),
        (1, 1, None, 1, "same answer"),
    ],
)
def test_outcomes(base: int, tuned: int, correct: int | None, users: int | None, outcome: str) -> None:
    row = {"question": "q", "correct_choice": correct, "user_choice": users}
    assert changed(answers(row | {"chosen": base}), answers(row | {"chosen": tuned}))[0].outcome == outcome


def test_generated_answers_and_those_without_right_answer_or_user_are_left_out() -> None:
    rows = (
        {"question": "view", "correct_choice": None},
        {"question": "written", "choices": [" fine"], "logprobs": None},
    )
    assert changed(answers(*rows), answers(*rows)) == []


def test_log_odds_are_against_all_other_choices_however_unlikely() -> None:
    row = {"question": "q", "choices": ["a", "b", "c"]}
    likely = answers(row | {"logprobs": [log(0.5), log(0.25), log(0.25)]})
    unlikely = answers(row | {"logprobs": [-2000.0, -2001.0, -2001.0]})
    assert changed(likely, unlikely)[0].change == pytest.approx(1 - log(2), abs=1e-4)


def test_a_long_prompt_loses_its_beginning() -> None:
    prompt = changed(answers({"question": "q"}), answers({"question": "q"}), "x" * MAX_PROMPT_CHARACTERS)[0].prompt
    assert prompt.startswith("… x") and prompt.endswith("I say …") and len(prompt) == MAX_PROMPT_CHARACTERS + 2


def test_other_questions_are_refused() -> None:
    with pytest.raises(UserError, match="same questions"):
        changed(answers({"question": "1"}), answers({"question": "2"}))


def test_answers_to_questions_that_the_suites_no_longer_hold_are_refused() -> None:
    table = answers({"question": "1"})
    with pytest.raises(UserError, match="other questions than the suites now hold"):
        most_changed(table, table, pl.DataFrame(schema=QUESTIONS.columns))
