"""The tables behind the headline: every suite and condition, whole and by kind of question, base beside tuned."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from stages.stats.choices import agree, is_close, is_followed, is_right, share_of
from stages.stats.intervals import Sample, generator, mcnemar, paired_difference
from stages.stats.measures import rounded
from stages.stats.pairs import require_same_questions

COLUMNS = (
    "suite", "condition", "group", "value", "measure",
    "base", "tuned", "delta", "delta_low", "delta_high", "n",
    "clusters", "mcnemar_p", "close_base", "close_tuned",
)  # fmt: skip

# Clusters are subjects or tasks, and groups of their own, where they have so many questions each under one condition.
SUBJECT_LEAST = 5

TUNED = ":tuned"
# Names of groups are part of what seeds their intervals; that of `option_order` is `order`.
_KINDS = ("suite", "condition", "cluster", "polarity", "order", "dataset")


@dataclass(frozen=True)
class Number:
    """A number of one answer; null where it says nothing."""

    name: str
    of: pl.Expr
    is_binary: bool = True


NUMBERS = (
    Number("accuracy", is_right()),
    Number("p_correct", share_of(pl.col("correct_choice")), is_binary=False),
    Number("follows_user", is_followed()),
    Number("p_follows_user", share_of(pl.col("user_choice")), is_binary=False),
    # These two expose who answers by a rule: always the same word, or always the first option.
    Number("says_agree", pl.col("chosen") == agree()),
    Number("says_first", pl.col("chosen") == 0),
)


def breakdown(base: pl.DataFrame, tuned: pl.DataFrame, seed: int, bootstrap_samples: int) -> pl.DataFrame:
    """Each number of NUMBERS by suite, condition and group, of two ANSWERS tables: a row each, with COLUMNS.

    Raises:
        UserError: the two tables are not about the same questions.
    """
    require_same_questions(base, tuned)
    pairs = _numbered(base).join(_numbered(tuned).drop(_KINDS), on="question", suffix=TUNED, maintain_order="left")
    conditions = pairs.partition_by("suite", "condition", as_dict=True, maintain_order=True)
    rows = [
        row
        for (suite, condition), asked in conditions.items()
        for group, value, part in _groups(asked)
        for row in _rows((suite, condition, group, value), part, seed, bootstrap_samples)
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _numbered(answers: pl.DataFrame) -> pl.DataFrame:
    numbers = [number.of.cast(pl.Float64).alias(number.name) for number in NUMBERS]
    close = is_close(pl.col("margin")).fill_null(value=False).alias("close")
    kinds = ("suite", "condition", "cluster", "polarity", pl.col("option_order").alias("order"))
    return answers.select("question", *kinds, dataset().alias("dataset"), *numbers, close)


def dataset() -> pl.Expr:
    """The data set of a claim, in whatever format it is asked; null for the questions of other suites."""
    # Claims in other formats are suites of their own, `claims_…`.
    return pl.when(pl.col("suite").str.starts_with("claims")).then(pl.col("item").str.replace(r":[^:]*$", ""))


def _groups(asked: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """The whole of a suite's condition, then its parts, each under the name and value of what it has in common."""
    yield "all", "", asked
    for column in ("dataset", "polarity", "order", "cluster"):
        if column != "cluster" or _has_subjects(asked):
            parts = asked.drop_nulls(column).partition_by(column, as_dict=True)
            for (value,), part in sorted(parts.items()):
                # Within a subject, each question is a cluster of its own.
                yield column, value, part.with_columns(cluster="question") if column == "cluster" else part


def _has_subjects(asked: pl.DataFrame) -> bool:
    """Whether clusters are subjects, tasks or statements that many were asked about, and not single claims."""
    return asked["order"].is_null().all() and asked.height >= SUBJECT_LEAST * asked["cluster"].n_unique()


def _rows(
    name: tuple[str, str, str, str], asked: pl.DataFrame, seed: int, bootstrap_samples: int
) -> Iterator[tuple[object, ...]]:
    for number in NUMBERS:
        counted = asked.drop_nulls([number.name, number.name + TUNED])
        if not counted.is_empty():
            yield (
                *name,
                number.name,
                *_numbers(number, counted, " ".join((*name, number.name)), seed, bootstrap_samples),
            )


def _numbers(
    number: Number, asked: pl.DataFrame, purpose: str, seed: int, bootstrap_samples: int
) -> tuple[object, ...]:
    base, tuned = asked[number.name].to_numpy(), asked[number.name + TUNED].to_numpy()
    clusters = asked["cluster"].to_numpy()
    found = paired_difference(
        Sample.even(base), Sample.even(tuned), clusters, bootstrap_samples, generator(seed, purpose)
    )
    p = mcnemar(base == 1.0, tuned == 1.0) if number.is_binary else None
    close = (int(asked[column].sum()) for column in ("close", "close" + TUNED))
    return (*rounded(found).values(), asked["cluster"].n_unique(), None if p is None else round(p, 6), *close)
