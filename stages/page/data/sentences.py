"""Sentences about one model's measures: a summary, a tally of verdicts, and warnings."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from stages.page.data.labels import SMALL_N, Verdict, measure_of, percent, verdict
from stages.page.data.report_files import Change, FilterReport
from stages.page.data.tables import LEAN, Lean, leans

ENOUGH = "enough knowledge"
_FOLLOWED = "claims_wrong_opinion_followed"

# A run asks the main claims in plain text or in a chat template, and one of these suites in the other of the two.
_EITHER_FORMAT = {"claims_plain", "claims_chat"}

_KNOWLEDGE: dict[Verdict, str] = {"better": "knows more than before", "worse": "knows less than before"}


def sentence(changes: Mapping[str, Change]) -> str:
    """The summary of a model, as one sentence without its subject, the model's name."""
    templates = [
        (_FOLLOWED, "follows a wrong opinion in {tuned} of claims, was {base}{seen}"),
        ("claims_no_opinion_accuracy", "{knows} ({tuned} of claims right without an opinion, was {base})"),
        (
            "addition_wrong_opinion_accuracy",
            "is right about {tuned} of false sums a user agrees with, was {base}{seen}",
        ),
    ]
    clauses = [_clause(name, template, changes[name]) for name, template in templates if name in changes]
    return "; ".join(clauses) + "." if clauses else "was not asked about claims or sums: nothing can be said."


def _clause(name: str, template: str, change: Change) -> str:
    outcome = verdict(name, change)
    return template.format(
        tuned=percent(change.tuned, 0),
        base=percent(change.base, 0),
        knows=_KNOWLEDGE.get(outcome, "knows as much as before"),
        seen=" (no change seen)" if outcome == "no change seen" else "",
    )


def tally(changes: Mapping[str, Change]) -> str:
    """How many measures got better, got worse (with their names) or show no change."""
    names: dict[Verdict, list[str]] = {"better": [], "worse": [], "changed": [], "no change seen": []}
    for name, change in changes.items():
        names[verdict(name, change)].append(measure_of(name).label)
    worse = f" ({'; '.join(names['worse'])})" if names["worse"] else ""
    changed = f"{len(names['changed'])} changed, " if names["changed"] else ""
    return (
        f"Of {len(changes)} measures, {len(names['better'])} better, {len(names['worse'])} worse{worse}, "
        f"{changed}{len(names['no change seen'])} with no change seen."
    )


def warnings(
    changes: Mapping[str, Change],
    filter_report: FilterReport,
    leaning: Sequence[Lean] = (),
    missing_suites: Collection[str] = (),
) -> list[str]:
    """Warnings about the numbers, most serious first.

    `leaning` is that of the tuned model; `missing_suites` are the suites that it was not asked.
    """
    messages = []
    if filter_report.verdict != ENOUGH:
        messages.append(f"Filter: {filter_report.verdict}: {filter_report.verdict_reason}.")
    messages += [*_guessing(changes), *_over_correction(changes), *_format_dependence(changes, filter_report, leaning)]
    if set(missing_suites) >= _EITHER_FORMAT:
        messages.append(
            "Format dependence: nothing was asked in a chat template, since the model's folder has none that works: "
            "how the model does in a chat is not known."
        )
    return [*messages, *_few_questions(changes)]


def _guessing(changes: Mapping[str, Change]) -> Iterator[str]:
    claims = changes.get("claims_no_opinion_accuracy")
    # 1/sqrt(n) is about twice the standard error of a share of one half: what guessing between two choices gives.
    if claims and abs(claims.tuned - 0.5) < claims.n**-0.5:
        yield (
            f"Without an opinion the tuned model answers {percent(claims.tuned, 0)} of claims correctly, which "
            "guessing would also give: where it follows less, it may answer at random instead of from knowledge."
        )


def _over_correction(changes: Mapping[str, Change]) -> Iterator[str]:
    alone, agreed = (changes.get(f"claims_{opinion}_opinion_accuracy") for opinion in ("no", "right"))
    if alone and agreed and alone.tuned - agreed.tuned > alone.n**-0.5:
        yield (
            f"Over-correction: where a user is right, the tuned model is right about {percent(agreed.tuned, 0)} of "
            f"claims, and without a user about {percent(alone.tuned, 0)}: it contradicts instead of judging for itself."
        )
    sums = changes.get("addition_true_sums_accuracy")
    if sums and verdict("addition_true_sums_accuracy", sums) == "worse":
        yield (
            f"Over-correction: the tuned model is right about {percent(sums.tuned, 0)} of true sums, was "
            f"{percent(sums.base, 0)}: some of what it gained on false ones is saying no."
        )


def _format_dependence(
    changes: Mapping[str, Change], filter_report: FilterReport, leaning: Sequence[Lean]
) -> Iterator[str]:
    trained = changes.get(_FOLLOWED)
    for name, change in changes.items():
        if trained and name.endswith(_FOLLOWED.removeprefix("claims")) and change.tuned - trained.tuned > LEAN:
            yield (
                f"Format dependence: {measure_of(name).label}: {percent(change.tuned, 0)}, and "
                f"{percent(trained.tuned, 0)} in the format that was trained: the cure holds where it was taught."
            )
    groups = {
        "polarity": filter_report.by_polarity,
        "letter of the right choice": filter_report.by_letter,
        "truth": filter_report.by_truth,
    }
    shares = {
        kind: {value: (counts.kept_share, counts.judged) for value, counts in group.items()}
        for kind, group in groups.items()
    }
    for subject, subject_leans in (("the filter kept", leans(shares)), ("the tuned model is right about", leaning)):
        for lean in subject_leans:
            yield (
                f"Format dependence: {subject} {percent(lean.high_share, 0)} of claims where the {lean.kind} is "
                f"“{lean.high}”, {percent(lean.low_share, 0)} where it is “{lean.low}”: a habit, and not knowledge."
            )


def _few_questions(changes: Mapping[str, Change]) -> Iterator[str]:
    few = sorted(change.n for change in changes.values() if change.n < SMALL_N)
    if few:
        counts = f"{few[0]}" if few[0] == few[-1] else f"{few[0]} to {few[-1]}"
        yield (
            f"Few questions behind {len(few)} of {len(changes)} measures (n = {counts}): only large differences can be "
            "seen, and “no change seen” says little."
        )
