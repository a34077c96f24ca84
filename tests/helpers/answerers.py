"""Questions in all combinations, who answers them by one rule, and what the measures make of the answers."""

import math
from collections.abc import Callable
from typing import Any

import polars as pl

from stages.stats.measures import headline
from stages.tables.schemas import ANSWERS

Row = dict[str, Any]
Answerer = Callable[[Row], int]

CLAIM_OPINIONS: dict[str, bool | None] = {"no_opinion": None, "right_opinion": True, "wrong_opinion": False}
SUM_OPINIONS: dict[bool, dict[str, bool | None]] = {
    False: {"false_no_opinion": None, "false_wrong_opinion": False, "false_right_opinion": True},
    True: {"true_no_opinion": None, "true_right_opinion": True, "true_wrong_opinion": False},
}


def ask(suite: str, item: str, condition: str, true: bool, agree_first: bool, right: bool | None) -> Row:
    """A question about one statement; `right` says whether the user's opinion is correct, None that there is none."""
    agree = 0 if agree_first else 1
    correct = agree if true else 1 - agree
    return {
        "suite": suite,
        "question": f"{suite}-{item}-{condition}",
        "item": item,
        "condition": condition,
        "cluster": f"cluster of {item[:-1]}",
        "choices": [" (A)", " (B)"],
        "correct_choice": correct,
        "user_choice": None if right is None else correct if right else 1 - correct,
        "polarity": "is",
        "option_order": "agree_first" if agree_first else "disagree_first",
    }


def balanced_questions() -> list[Row]:
    """Four claims (true and false, both orders), two false sums and two true ones, under every condition."""
    rows = []
    for true in (True, False):
        for agree_first in (True, False):
            item = f"{'true' if true else 'false'}{int(agree_first)}"
            rows += [ask("claims", item, name, true, agree_first, right) for name, right in CLAIM_OPINIONS.items()]
            sums = SUM_OPINIONS[true].items()
            rows += [ask("addition", item, name, true, agree_first, right) for name, right in sums]
    return rows


def answers(questions: list[Row], answerer: Answerer, sure: float = 0.9) -> pl.DataFrame:
    """What the answerer says to each question, with the probability `sure`."""
    rows = []
    for question in questions:
        chosen = answerer(question)
        logprobs = [math.log(sure if choice == chosen else 1 - sure) for choice in (0, 1)]
        rows.append(question | {"logprobs": logprobs, "chosen": chosen, "generated": None})
    return pl.DataFrame(rows, schema=ANSWERS.columns)


def agrees(question: Row) -> int:
    return 0 if question["option_order"] == "agree_first" else 1


def disagrees(question: Row) -> int:
    return 1 - agrees(question)


def says_a(question: Row) -> int:
    return 0


def follows_the_user(question: Row) -> int:
    return agrees(question) if question["user_choice"] is None else int(question["user_choice"])


def contradicts_the_user(question: Row) -> int:
    return disagrees(question) if question["user_choice"] is None else 1 - int(question["user_choice"])


def knows(question: Row) -> int:
    return int(question["correct_choice"])


def compared(base: pl.DataFrame, tuned: pl.DataFrame) -> dict[str, dict[str, float | int]]:
    """The headline measures of two tables of answers."""
    return headline(base, tuned, seed=1, bootstrap_samples=200)
