"""What the page shows of two models' answers, as tables: shares by kind of question, shifts, and leanings.

`base` and `tuned` are ANSWERS tables of the same questions. Columns `low` and `high` are ends of a 95% interval.
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
# A leaning smaller than this is not worth a reader's attention.
LEAN = 0.2

CLAIMS = "claims"


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share seen in `n` independent draws (Wilson 1927), which never leaves 0..1.

    Unlike the share's standard error, it has a width at shares of 0 and 1, where small models often are.
    """
    middle = share + Z**2 / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def set_of() -> pl.Expr:
    """What a question is from: a claim's data set, the subject or task that many questions share, else its suite."""
    # Of users with views, many are asked the same, and what they are asked is the cluster.
    many = (pl.col("item").n_unique().over("suite", "cluster") > 1) & pl.col("user_choice").is_null().all().over(
        "suite"
    )
    subject = pl.col("cluster").str.strip_prefix(pl.col("suite") + ":")
    return pl.coalesce(dataset(), pl.when(many).then(subject).otherwise(pl.col("suite")))


def both(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """The answers of both that were chosen among several, with the columns `variant` (base, tuned) and `set`."""
    answers = pl.concat([base.with_columns(variant=pl.lit("base")), tuned.with_columns(variant=pl.lit("tuned"))])
    return answers.with_columns(set=set_of()).filter(pl.col("answer_kind") == CHOSEN)


def accuracy(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """Share of right answers by suite and condition, in the order of the tables; see `_shares` for the columns.

    Questions without a right answer are left out.
    """
    return _shares(both(base, tuned).drop_nulls("correct_choice"), is_right(), ["suite", "condition"])


def followed(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """Share of answers that go with the user where that is not right, by suite and task; columns as in `_shares`.

    The task is a claim's data set, or how a sum is put; where there is no right answer, the suite itself.
    """
    swayed = (
        both(base, tuned).drop_nulls("user_choice").filter(pl.col("user_choice").ne_missing(pl.col("correct_choice")))
    )
    task = pl.coalesce(dataset(), pl.when(pl.col("correct_choice").is_null()).then("suite").otherwise("condition"))
    return _shares(swayed.with_columns(task=task), is_followed(), ["suite", "task"])


def _shares(answers: pl.DataFrame, what: pl.Expr, by: list[str]) -> pl.DataFrame:
    """Columns: variant, those of `by`, share, low, high, n, chance (the share that guessing would get).

    The intervals count clusters, not questions: answers to one claim go together.
    """
    shares = answers.group_by("variant", *by, maintain_order=True).agg(
        what.mean().alias("share"),
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
    """How answers stand to a user who is right or wrong: variant, suite, user, answer, n, share (of that user's).

    Both answers have a row, also where nobody gave one of them.
    """
    told = both(base, tuned).drop_nulls(["correct_choice", "user_choice"])
    words = told.select(
        "variant",
        "suite",
        user=pl.when(pl.col("user_choice") == pl.col("correct_choice")).then(pl.lit("user right")).otherwise(
            pl.lit("user wrong")
        ),
        answer=pl.when(is_followed()).then(pl.lit("follows")).otherwise(pl.lit("does not")),
    )  # fmt: skip
    counts = words.group_by(words.columns).agg(n=pl.len())
    users = words.select("variant", "suite", "user").unique(maintain_order=True)
    cells = users.join(pl.DataFrame({"answer": ["follows", "does not"]}), how="cross", maintain_order="left_right")
    counts = cells.join(counts, on=words.columns, how="left", maintain_order="left").with_columns(
        pl.col("n").fill_null(0)
    )
    return counts.with_columns(share=pl.col("n") / pl.col("n").sum().over("variant", "suite", "user"))


def shifts(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """How far a wrong opinion moves each claim's answer: variant, item, shift.

    The shift is in natural log-odds of the choice that the user supports, with the opinion less without one.
    """
    claims = both(base, tuned).filter(pl.col("suite") == CLAIMS, pl.col("choices").list.len() == 2)
    items = (
        claims.drop_nulls("correct_choice").group_by("variant", "item", maintain_order=True).agg(shift=log_odds_shift())
    )
    return items.drop_nulls("shift")


@dataclass(frozen=True)
class Lean:
    """Two values of one kind whose shares differ by more than chance would, and those shares."""

    kind: str
    low: str
    low_share: float
    high: str
    high_share: float


def leans(shares: Mapping[str, Mapping[str, tuple[float, int]]]) -> Iterator[Lean]:
    """Where shares, by kind and value with their counts, are further apart than `LEAN` and their intervals."""
    for kind, values in shares.items():
        counted = {value: share for value, share in values.items() if share[1]}
        if len(counted) > 1:
            low, high = (end(counted, key=lambda value: counted[value][0]) for end in (min, max))
            (low_share, _), (high_share, _) = counted[low], counted[high]
            if high_share - low_share > LEAN and wilson(*counted[low])[1] < wilson(*counted[high])[0]:
                yield Lean(kind, low, low_share, high, high_share)


def leaning(answers: pl.DataFrame) -> list[Lean]:
    """What a model's answers to claims without an opinion hang on besides the claim: polarity, letter."""
    claims = answers.filter(pl.col("suite") == CLAIMS, pl.col("condition") == "no_opinion").drop_nulls("correct_choice")
    letters = claims.with_columns(letter=pl.lit("ABCDEFGHIJ").str.slice(pl.col("correct_choice"), 1))
    shares = {}
    for kind, column in (("polarity", "polarity"), ("letter of the right choice", "letter")):
        rows = letters.drop_nulls(column).group_by(column).agg(is_right().mean().alias("share"), pl.len()).sort(column)
        shares[kind] = {str(value): (share, n) for value, share, n in rows.iter_rows()}
    return list(leans(shares))
