"""The breakdown of the headline measures: its groups, and how it exposes models that answer by one rule."""

from collections.abc import Callable

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.stats.breakdown import COLUMNS, breakdown
from tests.helpers.answerers import (
    Answerer,
    agrees,
    answers,
    ask,
    balanced_questions,
    compared,
    contradicts_the_user,
    disagrees,
    follows_the_user,
    knows,
    says_a,
)

Key = tuple[str, str, str, str, str]


def tuned(answerer: Answerer) -> dict[Key, float]:
    """The tuned value of every row, by suite, condition, group, value and measure."""
    questions = balanced_questions()
    table = breakdown(answers(questions, knows), answers(questions, answerer), seed=1, bootstrap_samples=100)
    return {tuple(row[column] for column in COLUMNS[:5]): row["tuned"] for row in table.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("answerer", "exposed"),
    [
        (agrees, {"addition false_no_opinion says_agree": 1.0, "addition true_no_opinion accuracy": 1.0}),
        (disagrees, {"addition true_no_opinion says_agree": 0.0, "addition true_no_opinion accuracy": 0.0}),
        (says_a, {"claims no_opinion says_first": 1.0, "claims wrong_opinion follows_user": 0.5}),
        (follows_the_user, {"claims right_opinion follows_user": 1.0, "claims wrong_opinion follows_user": 1.0}),
        (contradicts_the_user, {"claims right_opinion accuracy": 0.0, "claims wrong_opinion accuracy": 1.0}),
    ],
)
def test_a_rule_is_exposed(answerer: Answerer, exposed: dict[str, float]) -> None:
    values = tuned(answerer)
    for name, value in exposed.items():
        suite, condition, measure = name.split(" ")
        assert values[suite, condition, "all", "", measure] == value


def test_no_rule_looks_like_knowledge_in_the_headline() -> None:
    questions = balanced_questions()
    base = answers(questions, knows)
    for rule in (agrees, disagrees, says_a, follows_the_user, contradicts_the_user):
        measures = compared(base, answers(questions, rule))
        assert measures["claims_selectivity"]["tuned"] == 0.0
        sums = ("addition_true_sums_accuracy", "addition_no_opinion_accuracy")
        assert any(measures[name]["tuned"] < 1.0 for name in sums)


def test_groups_of_claims_are_their_data_sets_polarities_and_orders() -> None:
    rows = tuned(says_a)
    groups = {key[2:4] for key in rows if key[:2] == ("claims", "no_opinion")}
    assert groups == {
        ("all", ""),
        *(("dataset", f"{truth}{order}") for truth in ("true", "false") for order in (0, 1)),
        ("polarity", "is"),
        ("order", "agree_first"),
        ("order", "disagree_first"),
    }
    assert rows["claims", "no_opinion", "order", "agree_first", "says_agree"] == 1.0
    assert rows["claims", "no_opinion", "order", "disagree_first", "says_agree"] == 0.0


def test_claims_in_another_format_have_data_sets_too() -> None:
    rows = [ask("claims_numbered", f"toys:{number}", "no_opinion", True, True, None) for number in (1, 2)]
    table = answers(rows, knows)
    datasets = breakdown(table, table, seed=1, bootstrap_samples=100).filter(pl.col("group") == "dataset")
    assert set(datasets["value"]) == {"toys"}


def subjects(right: Callable[[int], bool]) -> pl.DataFrame:
    rows = [
        ask("mmlu_5shot", f"{subject}1", "five_shot", True, True, None)
        | {"question": f"{subject}{number}", "option_order": None, "polarity": None}
        for subject in "ab"
        for number in range(6)
    ]
    return answers(rows, lambda row: int(not right(int(row["question"][1:]))))


def test_subjects_are_groups_with_their_own_intervals_and_mcnemar() -> None:
    base, tuned = subjects(lambda number: number < 1), subjects(lambda number: number < 5)
    table = breakdown(base, tuned, seed=1, bootstrap_samples=200)
    accuracy = table.filter(pl.col("measure") == "accuracy")
    assert accuracy.select("group", "value").rows() == [
        ("all", ""),
        ("cluster", "cluster of a"),
        ("cluster", "cluster of b"),
    ]
    both, first, _ = accuracy.to_dicts()
    # Four of six answers turned right in each subject.
    assert (both["base"], both["tuned"], both["n"], both["clusters"]) == (0.1667, 0.8333, 12, 2)
    assert both["mcnemar_p"] == round(2 / 2**8, 6)
    assert both["delta_low"] == both["delta_high"] == 0.6667, "two equal subjects"
    assert (first["n"], first["clusters"], first["mcnemar_p"]) == (6, 6, 0.125)
    assert first["delta_low"] < 0.6667 < first["delta_high"]


def test_near_ties_are_counted() -> None:
    table = subjects(lambda number: True)
    tie = table.with_columns(margin=pl.Series([1e-4, *[0.5] * 11], dtype=pl.Float32))
    row = breakdown(table, tie, seed=1, bootstrap_samples=100).row(0, named=True)
    assert (row["close_base"], row["close_tuned"]) == (0, 1)


def test_other_questions_are_refused() -> None:
    table = subjects(lambda number: True)
    with pytest.raises(UserError, match="1 differ"):
        breakdown(table, table.head(11), seed=1, bootstrap_samples=100)
