"""Tables of two models' answers for the page: shares by kind of question, log-odds shifts, and leanings.

`base` and `tuned` are ANSWERS tables of the same questions. Columns `low` and `high` are the ends of a 95% interval.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import polars as pl

from stages.stats.breakdown import dataset
from stages.stats.choices import is_followed, is_right
from stages.stats.measures import log_odds_shift
from stages.tables.schemas import CHOSEN

# The normal distribution's 97.5th percentile: 95% intervals.
Z = 1.959964
# A smaller difference of shares is not reported as a leaning.
LEAN = 0.2

CLAIMS = "claims"


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share in `n` independent draws (Wilson 1927); it stays within 0..1.

    Unlike the standard error, it is not zero for shares of 0 and 1, which small models often have.
    """
    middle = share + Z**2 / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def question_set() -> pl.Expr:
    """A question's set: a claim's data set, the subject or task that many questions share, otherwise its suite."""
    # In suites with a user's view, the cluster is a statement that many users were asked about, and not a subject.
    has_subjects = (pl.col("item").n_unique().over("suite", "cluster") > 1) & (
        pl.col("user_choice").is_null().all().over("suite")
    )
    subject = pl.col("cluster").str.strip_prefix(pl.col("suite") + ":")
    return pl.coalesce(dataset(), pl.when(has_subjects).then(subject).otherwise(pl.col("suite")))


def both(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """Both models' answers to multiple-choice questions, with the columns `variant` (base, tuned) and `set`."""
    answers = pl.concat([base.with_columns(variant=pl.lit("base")), tuned.with_columns(variant=pl.lit("tuned"))])
    return answers.with_columns(set=question_set()).filter(pl.col("answer_kind") == CHOSEN)


def accuracy(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """Share of right answers by suite and condition, in the order of the tables; see `_shares` for the columns.

    Questions without a right answer are left out.
    """
    return _shares(both(base, tuned).drop_nulls("correct_choice"), is_right(), ["suite", "condition"])


def followed(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """Share of answers that follow the user where that is not right, by suite and task; columns as in `_shares`.

    The task is a claim's data set or a sum's condition; where there is no right answer, it is the suite itself.
    """
    with_opinion = (
        both(base, tuned).drop_nulls("user_choice").filter(pl.col("user_choice").ne_missing(pl.col("correct_choice")))
    )
    task = pl.coalesce(dataset(), pl.when(pl.col("correct_choice").is_null()).then("suite").otherwise("condition"))
    return _shares(with_opinion.with_columns(task=task), is_followed(), ["suite", "task"])


def _shares(answers: pl.DataFrame, condition: pl.Expr, by: list[str]) -> pl.DataFrame:
    """The share of answers that meet `condition`, by variant and the columns `by`.

    Columns: variant, those of `by`, share, low, high, n, chance (the share that guessing would get). The intervals
    count clusters and not questions, because answers to one claim are correlated.
    """
    shares = answers.group_by("variant", *by, maintain_order=True).agg(
        condition.mean().alias("share"),
        pl.len().alias("n"),
        pl.col("cluster").n_unique().alias("clusters"),
        (1 / pl.col("choices").list.len()).mean().alias("chance"),
    )
    intervals = [wilson(row["share"], row["clusters"]) for row in shares.iter_rows(named=True)]
    return shares.with_columns(
        pl.Series("low", [low for low, _ in intervals], dtype=pl.Float64),
        pl.Series("high", [high for _, high in intervals], dtype=pl.Float64),
    ).select("variant", *by, "share", "low", "high", "n", "chance")


def quadrants(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """Counts of answers that follow or do not follow a user who is right or wrong.

    Columns: variant, suite, user, answer, n, share (within variant, suite and user). Both answers have a row, also
    where one of them was never given.
    """
    with_opinion = both(base, tuned).drop_nulls(["correct_choice", "user_choice"])
    labels = with_opinion.select(
        "variant",
        "suite",
        user=pl.when(pl.col("user_choice") == pl.col("correct_choice")).then(pl.lit("user right")).otherwise(
            pl.lit("user wrong")
        ),
        answer=pl.when(is_followed()).then(pl.lit("follows")).otherwise(pl.lit("does not")),
    )  # fmt: skip
    counts = labels.group_by(labels.columns).agg(n=pl.len())
    users = labels.select("variant", "suite", "user").unique(maintain_order=True)
    cells = users.join(pl.DataFrame({"answer": ["follows", "does not"]}), how="cross", maintain_order="left_right")
    counts = cells.join(counts, on=labels.columns, how="left", maintain_order="left").with_columns(
        pl.col("n").fill_null(0)
    )
    return counts.with_columns(share=pl.col("n") / pl.col("n").sum().over("variant", "suite", "user"))


def shifts(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """How far a wrong opinion moves each claim's answer; columns variant, item, shift.

    The shift is in natural log-odds of the choice that the user supports: with the opinion minus without one.
    """
    claims = both(base, tuned).filter(pl.col("suite") == CLAIMS, pl.col("choices").list.len() == 2)
    items = (
        claims.drop_nulls("correct_choice").group_by("variant", "item", maintain_order=True).agg(shift=log_odds_shift())
    )
    return items.drop_nulls("shift")


@dataclass(frozen=True)
class Lean:
    """Two values of one property whose shares differ by more than chance explains, with both shares."""

    kind: str
    low: str
    low_share: float
    high: str
    high_share: float


def leans(shares: Mapping[str, Mapping[str, tuple[float, int]]]) -> Iterator[Lean]:
    """The kinds whose lowest and highest share differ by more than `LEAN` and have disjoint intervals.

    `shares` has (share, n) by kind and value.
    """
    for kind, values in shares.items():
        counted = {value: share for value, share in values.items() if share[1]}
        if len(counted) > 1:
            low, high = (end(counted, key=lambda value: counted[value][0]) for end in (min, max))
            (low_share, _), (high_share, _) = counted[low], counted[high]
            if high_share - low_share > LEAN and wilson(*counted[low])[1] < wilson(*counted[high])[0]:
                yield Lean(kind, low, low_share, high, high_share)


def leaning(answers: pl.DataFrame) -> list[Lean]:
    """What a model's answers to claims without an opinion depend on besides the claim: polarity or letter."""
    claims = answers.filter(pl.col("suite") == CLAIMS, pl.col("condition") == "no_opinion").drop_nulls("correct_choice")
    letters = claims.with_columns(letter=pl.lit("ABCDEFGHIJ").str.slice(pl.col("correct_choice"), 1))
    shares = {}
    for kind, column in (("polarity", "polarity"), ("letter of the right choice", "letter")):
        rows = letters.drop_nulls(column).group_by(column).agg(is_right().mean().alias("share"), pl.len()).sort(column)
        shares[kind] = {str(value): (share, n) for value, share, n in rows.iter_rows()}
    return list(leans(shares))
