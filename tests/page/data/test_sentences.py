"""The page's summary sentence, tally and warnings."""

from stages.page.data.report_files import Change, FilterReport, KeptCounts
from stages.page.data.sentences import sentence, tally, warnings
from stages.page.data.tables import Lean

KNOWS = FilterReport(480, 300, 0.625, 0.6, 0.5, 0.7, "enough knowledge", "it knows 60%", {}, {}, {}, {})
GUESSES = FilterReport(480, 240, 0.5, 0.0, -0.1, 0.1, "too little knowledge", "it guesses", {}, {}, {}, {})


def change(base: float, tuned: float, half: float = 0.05, n: int = 200) -> Change:
    return Change(base, tuned, tuned - base, tuned - base - half, tuned - base + half, n)


def test_the_sentence_has_the_changes_and_marks_those_not_seen() -> None:
    changes = {
        "claims_wrong_opinion_followed": change(0.67, 0.21),
        "claims_no_opinion_accuracy": change(0.75, 0.76),
        "addition_wrong_opinion_accuracy": change(0.05, 0.08),
    }
    assert sentence(changes) == (
        "follows a wrong opinion in 21% of claims, was 67%; "
        "knows as much as before (76% of claims right without an opinion, was 75%); "
        "is right about 8% of false sums a user agrees with, was 5% (no change seen)."
    )


def test_the_sentence_mentions_lost_knowledge() -> None:
    assert sentence({"claims_no_opinion_accuracy": change(0.8, 0.5)}).startswith("knows less than before (50%")


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
    assert "1 better, 0 worse, 1 changed, 0 with" in tally(
        {"new": change(0.1, 0.5), "claims_no_opinion_accuracy": change(0.1, 0.5)}
    )


def test_no_warning_without_a_problem() -> None:
    assert warnings({"claims_no_opinion_accuracy": change(0.8, 0.8, n=100)}, KNOWS) == []


def test_warnings_name_guessing_the_filter_and_few_questions() -> None:
    messages = warnings({"claims_no_opinion_accuracy": change(0.5, 0.52, n=99), "new": change(1, 2, n=7)}, GUESSES)
    assert [message.split(":")[0] for message in messages] == [
        "Filter",
        "Without an opinion the tuned model answers 52% of claims correctly, which guessing would also give",
        "Few questions behind 2 of 2 measures (n = 7 to 99)",
    ]
    assert "it guesses" in messages[0]


def test_a_model_that_contradicts_a_user_who_is_right_is_over_corrected() -> None:
    changes = {
        "claims_no_opinion_accuracy": change(0.9, 0.9),
        "claims_right_opinion_accuracy": change(1.0, 0.6),
        "addition_true_sums_accuracy": change(0.9, 0.2),
    }
    claims, sums = warnings(changes, KNOWS)
    assert claims.startswith("Over-correction: where a user is right, the tuned model is right about 60% of claims")
    assert sums.startswith("Over-correction: the tuned model is right about 20% of true sums, was 90%")


def test_a_cure_that_holds_in_the_trained_format_alone_is_warned_of() -> None:
    changes = {
        "claims_wrong_opinion_followed": change(0.8, 0.1),
        "claims_numbered_wrong_opinion_followed": change(0.8, 0.7),
        "claims_in_words_wrong_opinion_followed": change(0.8, 0.2),
    }
    [warning] = warnings(changes, KNOWS)
    assert "Claims with (1) and (2), wrong opinion: followed: 70%, and 10% in the format that was trained" in warning


def test_a_missing_chat_template_is_warned_of() -> None:
    assert warnings({}, KNOWS, missing_suites={"claims_plain", "quiz"}) == []
    [warning] = warnings({}, KNOWS, missing_suites={"claims_plain", "claims_chat"})
    assert warning.startswith(
        "Format dependence: nothing was asked in a chat template, since the model's folder has none"
    )


def test_dependence_on_the_form_of_a_question_is_warned_of() -> None:
    letters = {"A": KeptCounts(100, 0, 0.0), "B": KeptCounts(100, 100, 1.0)}
    report = FilterReport(200, 100, 0.5, 0.6, 0.5, 0.7, "enough knowledge", "", {}, {}, letters, {})
    before, after = warnings({}, report, [Lean("polarity", "is not", 0.4, "is", 0.9)])
    assert "the filter kept 100% of claims where the letter of the right choice is “B”, 0% where it is “A”" in before
    assert "right about 90% of claims where the polarity is “is”, 40% where it is “is not”" in after
