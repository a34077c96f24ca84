"""The filter report: guessers, models with one rule and models that know get the right known share and verdict."""

import json
from collections.abc import Callable
from itertools import product
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest

from stages.core.errors import UserError
from stages.stats.knowledge import knowledge, known, with_verdicts
from stages.tables.schemas import JUDGED

Row = dict[str, Any]
# Given a row and the index of the choice that says Agree: log-probabilities of the two letters.
Answerer = Callable[[Row, int], list[float]]
Require = Literal["original_order", "both_orders"]

FIRST, SECOND = [-0.1, -2.4], [-2.4, -0.1]
GROUPS = ("by_dataset", "by_polarity", "by_letter", "by_truth")


def judged(answerer: Answerer, repeats: int = 10) -> pl.DataFrame:
    """Prompts in all combinations of truth, polarity and order, over two data sets, answered by a rule."""
    rows = []
    cases = product(range(repeats), (True, False), ("is", "is not"), ("agree_first", "disagree_first"))
    for number, (_, true, polarity, order) in enumerate(cases):
        agree = 0 if order == "agree_first" else 1
        row: Row = {
            "prompt": f"p{number}",
            "example": f"e{number}",
            "dataset": "toys" if number % 3 else "games",
            "cluster": f"c{number // 2}",
            "polarity": polarity,
            "claim_is_true": true,
            "option_order": order,
            "correct_choice": agree if true else 1 - agree,
        }
        answers = {"logprobs": answerer(row, agree), "logprobs_swapped": answerer(row, 1 - agree)}
        rows.append({name: (row | answers).get(name) for name in JUDGED.names})
    return pl.DataFrame(rows, schema=JUDGED.columns)


def letter(chosen: int) -> list[float]:
    return SECOND if chosen else FIRST


def always_first(_row: Row, _agree: int) -> list[float]:
    return FIRST


def always_agree(_row: Row, agree: int) -> list[float]:
    return letter(agree)


def knower(row: Row, agree: int) -> list[float]:
    return letter(agree if row["claim_is_true"] else 1 - agree)


def opposite(row: Row, agree: int) -> list[float]:
    return letter(1 - agree if row["claim_is_true"] else agree)


def guesser(seed: int) -> Answerer:
    random = np.random.default_rng(seed)
    return lambda _row, _agree: letter(int(random.integers(2)))


def knower_of(share: float, otherwise: Answerer) -> Answerer:
    """Knows a share of the claims and treats the rest as `otherwise` does."""
    random = np.random.default_rng(5)
    knows: dict[str, bool] = {}

    def answer(row: Row, agree: int) -> list[float]:
        is_known = knows.setdefault(row["prompt"], bool(random.random() < share))
        return knower(row, agree) if is_known else otherwise(row, agree)

    return answer


@pytest.mark.parametrize("answerer", [always_first, always_agree])
def test_a_fixed_rule_is_right_half_the_time_and_knows_nothing(answerer: Answerer) -> None:
    report = knowledge(judged(answerer), "original_order")
    assert report["kept_share"] == 0.5
    assert report["known_share"] == 0.0
    assert report["verdict"] == "too little knowledge"


def test_the_groups_expose_a_fixed_rule() -> None:
    by_letter = knowledge(judged(always_first), "original_order")["by_letter"]
    assert {name: part["kept_share"] for name, part in by_letter.items()} == {"A": 1.0, "B": 0.0}
    by_truth = knowledge(judged(always_agree), "original_order")["by_truth"]
    assert {name: part["kept_share"] for name, part in by_truth.items()} == {"false": 0.0, "true": 1.0}


def test_both_orders_keep_nothing_of_a_letter_and_a_quarter_of_guesses() -> None:
    assert knowledge(judged(always_first), "both_orders")["kept"] == 0
    assert abs(knowledge(judged(guesser(1), repeats=100), "both_orders")["kept_share"] - 0.25) < 0.06


def test_a_guesser_knows_nothing_to_within_its_interval() -> None:
    report = knowledge(judged(guesser(1), repeats=100), "original_order")
    assert abs(report["kept_share"] - 0.5) < 0.08
    assert report["known_share_low"] < 0.0 < report["known_share_high"]
    assert abs(report["known_share"]) < 0.1
    assert report["verdict"] == "too little knowledge"


@pytest.mark.parametrize("require", ["original_order", "both_orders"])
def test_everything_is_kept_of_a_perfect_knower(require: Require) -> None:
    report = knowledge(judged(knower), require)
    assert (report["judged"], report["kept"], report["kept_share"]) == (80, 80, 1.0)
    assert (report["known_share"], report["known_share_low"], report["known_share_high"]) == (1.0, 1.0, 1.0)
    assert report["verdict"] == "enough knowledge"
    assert "100%" in report["verdict_reason"]


def test_a_model_that_knows_the_opposite_is_below_zero() -> None:
    report = knowledge(judged(opposite), "original_order")
    assert report["known_share"] == -1.0
    assert report["verdict"] == "too little knowledge"
    assert "an estimated 0% of the claims" in report["verdict_reason"]


@pytest.mark.parametrize("otherwise", [always_first, always_agree, guesser(3)])
@pytest.mark.parametrize(
    ("share", "verdict"), [(0.1, "too little knowledge"), (0.35, "little knowledge"), (0.65, "enough knowledge")]
)
def test_a_model_that_knows_a_share_scores_it_whatever_the_rest_is(
    share: float, otherwise: Answerer, verdict: str
) -> None:
    table = judged(knower_of(share, otherwise), repeats=100)
    report = knowledge(table, "original_order")
    # 800 claims: four standard errors of a share, and as much again for the guesses on the rest.
    assert abs(report["known_share"] - share) < 0.1
    assert report["known_share_low"] < share < report["known_share_high"]
    assert report["verdict"] == verdict


@pytest.mark.parametrize(
    ("known_claims", "verdict"),
    [
        (15, "too little knowledge"),
        (16, "little knowledge"),
        (39, "little knowledge"),
        (40, "enough knowledge"),
    ],
)
def test_the_verdicts_bounds(known_claims: int, verdict: str) -> None:
    def answer(row: Row, agree: int) -> list[float]:
        return knower(row, agree) if int(row["prompt"][1:]) < known_claims else always_first(row, agree)

    report = knowledge(judged(answer), "original_order")
    assert report["known_share"] == round(known_claims / 80, 4)
    assert report["verdict"] == verdict


@pytest.mark.parametrize("require", ["original_order", "both_orders"])
@pytest.mark.parametrize("answerer", [always_first, always_agree, guesser(2), knower_of(0.4, always_agree)])
def test_groups_sum_to_the_total(answerer: Answerer, require: Require) -> None:
    report = knowledge(judged(answerer), require)
    for group in GROUPS:
        for count in ("judged", "kept"):
            assert sum(part[count] for part in report[group].values()) == report[count]
        assert list(report[group]) == sorted(report[group])
        for part in report[group].values():
            assert part["kept_share"] == round(part["kept"] / part["judged"], 4)


def test_the_reports_keys_and_groups() -> None:
    report = knowledge(judged(knower), "original_order")
    assert list(report) == [
        *("judged", "kept", "kept_share", "known_share", "known_share_low", "known_share_high"),
        *("verdict", "verdict_reason", "close", *GROUPS),
    ]
    assert {group: list(report[group]) for group in GROUPS} == {
        "by_dataset": ["games", "toys"],
        "by_polarity": ["is", "is not"],
        "by_letter": ["A", "B"],
        "by_truth": ["false", "true"],
    }


def test_claims_of_the_paper_s_form_may_be_right_without_knowledge() -> None:
    table = judged(knower)
    for form, has_note in (("paper", True), ("balanced", False)):
        reason = knowledge(table.with_columns(form=pl.lit(form)), "original_order")["verdict_reason"]
        assert ("so this may be no knowledge" in reason) == has_note


def test_near_ties_of_either_order_are_counted() -> None:
    table = (
        judged(knower)
        .head(4)
        .with_columns(
            margin=pl.Series([1e-2, 9e-4, 1e-2, 0.0], dtype=pl.Float32),
            margin_swapped=pl.Series([9e-4, 9e-4, 1e-2, None], dtype=pl.Float32),
        )
    )
    assert knowledge(table, "original_order")["close"] == 3


def test_nothing_judged_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="no prompt was judged"):
        knowledge(judged(knower).clear(), "original_order")


def test_the_report_is_the_same_every_time() -> None:
    table = judged(knower_of(0.4, always_agree))
    assert json.dumps(knowledge(table, "both_orders")) == json.dumps(knowledge(table, "both_orders"))


@pytest.mark.parametrize("require", ["original_order", "both_orders"])
def test_the_number_of_kept_prompts_is_the_count(require: Require) -> None:
    table = judged(knower_of(0.4, always_first))
    kept = with_verdicts(table).filter(known(require))
    assert kept.height == knowledge(table, require)["kept"]
    assert kept["right"].all()
    assert kept["right_swapped"].all() == (require == "both_orders")


def test_right_is_by_the_likelier_letter_and_swapping_moves_it() -> None:
    row = judged(knower, repeats=1).head(1).with_columns(correct_choice=pl.lit(0, pl.Int32))
    for logprobs, right, right_swapped in (
        (FIRST, True, False),
        (SECOND, False, True),
        ([-0.7, -0.7], True, False),  # the first of two equal ones
    ):
        column = pl.lit(pl.Series([logprobs], dtype=pl.List(pl.Float32)))
        report = with_verdicts(row.with_columns(logprobs=column, logprobs_swapped=column))
        assert (report["right"].item(), report["right_swapped"].item()) == (right, right_swapped)
