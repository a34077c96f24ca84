"""The answers that changed most: which they are, how they are told, and what stands beside them."""

from math import log
from typing import Any

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.page.data.changed import MOST_CHARACTERS, SHOWN, ChangedAnswer, changed_most
from stages.tables.schemas import ANSWERS, QUESTIONS

COMMON: dict[str, Any] = {"suite": "claims", "item": "zoo:1", "condition": "no_opinion", "cluster": "c"}
COMMON |= {"choices": [" (A)", " (B)"], "correct_choice": 0, "logprobs": [-0.5, -1.0], "chosen": 0}


def answers(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(ANSWERS.columns) | COMMON | row for row in rows], schema=ANSWERS.columns)


def changed(
    base: pl.DataFrame, tuned: pl.DataFrame, text: str = "Agree?", of_suite: int = SHOWN
) -> list[ChangedAnswer]:
    turns = [{"role": "user", "text": text}]
    asked = base.select(name for name in QUESTIONS.names if name in ANSWERS.names)
    rows = [
        dict.fromkeys(QUESTIONS.columns) | row | {"turns": turns, "answer_prefix": "I say"} for row in asked.to_dicts()
    ]
    return changed_most(base, tuned, pl.DataFrame(rows, schema=QUESTIONS.columns), of_suite)


def test_what_moved_furthest_comes_first_with_ties_by_name() -> None:
    base = answers({"question": "b"}, {"question": "a"}, {"question": "c", "correct_choice": 1}, {"question": "still"})
    tuned = answers(
        {"question": "b", "logprobs": [-2.0, -1.0]},
        {"question": "a", "logprobs": [-0.5, -2.5]},
        {"question": "c", "logprobs": [-9.0, -1.0], "correct_choice": 1},
        {"question": "still"},
    )
    found = [(one.question, one.change) for one in changed(base, tuned)]
    assert found == [("c", 8.5), ("a", 1.5), ("b", -1.5), ("still", 0.0)]


def test_thirty_of_each_suite_are_there() -> None:
    rows = [{"question": f"{suite}{number}", "suite": suite} for suite in ("claims", "sums") for number in range(40)]
    found = changed(answers(*rows), answers(*rows))
    assert [one.suite for one in found].count("sums") == [one.suite for one in found].count("claims") == SHOWN


def test_beside_the_thirty_of_all_are_fewer_of_each_suite_where_that_is_asked_for() -> None:
    rows = [{"question": f"{suite}{number}", "suite": suite} for suite in ("claims", "sums") for number in range(40)]
    # Every claim moves further than any sum.
    moved = [row | {"logprobs": [-9.0 if row["suite"] == "claims" else -2.0, -1.0]} for row in rows]
    for of_suite, of_sums in ((SHOWN, SHOWN), (3, 3), (0, 0)):
        suites = [one.suite for one in changed(answers(*rows), answers(*moved), of_suite=of_suite)]
        assert suites == ["claims"] * SHOWN + ["sums"] * of_sums


def test_an_answer_is_told_with_its_question() -> None:
    row = {"question": "zoo:1/wrong", "condition": "wrong_opinion", "user_choice": 1}
    base = answers(row | {"logprobs": [log(0.1), log(0.3)], "chosen": 1})
    tuned = answers(row | {"logprobs": [log(0.6), log(0.2)], "chosen": 0})
    one = changed(base, tuned, "Agree?\nChoices:\n (A) Disagree\n (B) Agree")[0]
    assert (one.suite, one.set, one.kind, one.outcome) == ("claims", "zoo", "wrong opinion", "now right")
    assert one.prompt.startswith("Agree?\n") and one.prompt.endswith("Agree\nI say …")
    assert (one.base, one.tuned) == ("(B) Agree", "(A) Disagree")
    right, users = one.choices
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


def test_what_has_no_right_answer_and_no_user_or_is_written_is_left_out() -> None:
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
    prompt = changed(answers({"question": "q"}), answers({"question": "q"}), "x" * MOST_CHARACTERS)[0].prompt
    assert prompt.startswith("… x") and prompt.endswith("I say …") and len(prompt) == MOST_CHARACTERS + 2


def test_other_questions_are_refused() -> None:
    with pytest.raises(UserError, match="same questions"):
        changed(answers({"question": "1"}), answers({"question": "2"}))


def test_answers_to_questions_that_the_suites_no_longer_hold_are_refused() -> None:
    table = answers({"question": "1"})
    with pytest.raises(UserError, match="other questions than the suites now hold"):
        changed_most(table, table, pl.DataFrame(schema=QUESTIONS.columns))
