"""Labels of measures, verdicts on differences, and numbers as text."""

import pytest

from stages.page.data.labels import MEASURES, in_order, measure_of, percent, signed, verdict
from stages.page.data.report_files import Change
from stages.stats.measures import HEADLINE


def change(base: float, tuned: float, half: float = 0.05, n: int = 200) -> Change:
    return Change(base, tuned, tuned - base, tuned - base - half, tuned - base + half, n)


def test_every_headline_measure_has_a_label() -> None:
    names = [measure.name for measure in HEADLINE]
    assert [name for name in MEASURES if name in names] == names


@pytest.mark.parametrize(
    ("name", "difference", "expected"),
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
def test_verdict(name: str, difference: Change, expected: str) -> None:
    assert verdict(name, difference) == expected


@pytest.mark.parametrize(
    ("name", "label", "better", "is_share"),
    [
        ("quiz_five_shot_accuracy", "Quiz five shot accuracy", "higher", True),
        ("quiz_wrong_opinion_followed", "Quiz wrong opinion followed", "lower", True),
        ("claims_calibration", "Claims calibration", "–", False),
    ],
)
def test_a_measure_without_an_entry_gets_its_label_from_its_name(
    name: str, label: str, better: str, is_share: bool
) -> None:
    measure = measure_of(name)
    assert (measure.label, measure.better, measure.is_share) == (label, better, is_share)


def test_an_unknown_measure_has_changed_or_not() -> None:
    assert verdict("claims_calibration", change(0.5, 0.8)) == "changed"
    assert verdict("claims_calibration", change(0.5, 0.5)) == "no change seen"


def test_measures_with_an_entry_come_first() -> None:
    names = ["new", "claims_log_odds_shift", "claims_no_opinion_accuracy"]
    ordered = in_order({name: change(0.5, 0.5) for name in names})
    assert list(ordered) == ["claims_no_opinion_accuracy", "claims_log_odds_shift", "new"]


@pytest.mark.parametrize(("share", "text"), [(0.21, "21.0%"), (-0.05, "−5.0%"), (-0.0001, "0.0%")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(("number", "text"), [(0.461, "+0.46"), (-0.461, "−0.46"), (0.0, "0.00"), (-0.001, "0.00")])
def test_signed(number: float, text: str) -> None:
    assert signed(number, 2) == text
