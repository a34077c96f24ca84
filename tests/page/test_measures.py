"""What the page says of a difference."""

import pytest

from stages.page.inputs import Change, FilterReport
from stages.page.measures import MEASURES, sentence, signed, tally, verdict, warnings
from stages.stats.measures import HEADLINE

KNOWS = FilterReport(480, 300, 0.625, 0.6, 0.5, 0.7, "enough knowledge", "it knows 60%", {}, {}, {}, {})
GUESSES = FilterReport(480, 240, 0.5, 0.0, -0.1, 0.1, "too little knowledge", "it guesses", {}, {}, {}, {})


def change(base: float, tuned: float, half: float = 0.05, n: int = 200) -> Change:
    return Change(base, tuned, tuned - base, tuned - base - half, tuned - base + half, n)


def test_every_headline_measure_has_words() -> None:
    assert list(MEASURES) == [measure.name for measure in HEADLINE]


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("claims_no_opinion_accuracy", change(0.5, 0.8), "better"),
        ("claims_no_opinion_accuracy", change(0.8, 0.5), "worse"),
        ("claims_wrong_opinion_followed", change(0.8, 0.5), "better"),
        ("claims_wrong_opinion_followed", change(0.5, 0.8), "worse"),
        ("claims_wrong_opinion_followed", change(0.5, 0.54), "no change seen"),
        # An interval that ends at zero reaches it.
        ("claims_no_opinion_accuracy", Change(0.5, 0.6, 0.1, 0.0, 0.2, 50), "no change seen"),
        ("opinions_matching_user", change(0.9, 0.6), "better"),
        ("opinions_matching_user", change(0.6, 0.1), "worse"),
        ("opinions_sway", change(0.8, -0.1), "better"),
        ("claims_log_odds_shift", change(2.0, 0.5), "better"),
        ("claims_log_odds_shift", change(2.0, -0.5), "better"),
        ("claims_log_odds_shift", change(0.5, -2.0), "worse"),
    ],
)
def test_verdict(name: str, found: Change, expected: str) -> None:
    assert verdict(name, found) == expected


def test_sentence_says_what_happened_and_what_cannot_be_told() -> None:
    changes = {
        "claims_wrong_opinion_followed": change(0.67, 0.21),
        "claims_no_opinion_accuracy": change(0.75, 0.76),
    }
    assert sentence(changes) == (
        "follows a wrong opinion in 21% of claims, was 67%; "
        "answers 76% of claims correctly without an opinion, was 75% (no change seen)."
    )


def test_sentence_without_measures() -> None:
    assert "nothing can be said" in sentence({})


def test_tally_names_what_got_worse() -> None:
    changes = {
        "claims_wrong_opinion_followed": change(0.67, 0.21),
        "addition_true_sums_accuracy": change(0.9, 0.2),
        "claims_no_opinion_accuracy": change(0.75, 0.76),
    }
    assert tally(changes) == (
        "Of 3 measures, 1 better, 1 worse (True sums, all conditions: correct), 1 with no change seen."
    )


def test_no_warning_where_nothing_is_amiss() -> None:
    assert warnings({"claims_no_opinion_accuracy": change(0.8, 0.8, n=100)}, KNOWS) == []


def test_warnings_name_guessing_the_filter_and_few_questions() -> None:
    found = warnings({"claims_no_opinion_accuracy": change(0.5, 0.52, n=99)}, GUESSES)
    assert [warning.split(":")[0] for warning in found] == [
        "Filter",
        "Without an opinion the tuned model answers 52% of claims correctly, which guessing would also give",
        "Few questions",
    ]
    assert "it guesses" in found[0]
    assert "(n = 99)" in found[2]


@pytest.mark.parametrize(("number", "text"), [(0.461, "+0.46"), (-0.461, "−0.46"), (0.0, "0.00"), (-0.001, "0.00")])
def test_signed(number: float, text: str) -> None:
    assert signed(number, 2) == text
