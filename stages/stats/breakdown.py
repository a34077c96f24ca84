"""The breakdown of the headline measures: base and tuned for every suite and condition, in total and by group."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from stages.stats.choices import agree_choice, is_close, is_followed, is_right, share_of
from stages.stats.intervals import Sample, generator, mcnemar, paired_difference
from stages.stats.measures import rounded
from stages.stats.pairs import require_same_questions

COLUMNS = (
    "suite", "condition", "group", "value", "measure",
    "base", "tuned", "delta", "delta_low", "delta_high", "n",
    "clusters", "mcnemar_p", "close_base", "close_tuned",
)  # fmt: skip

# Clusters count as subjects or tasks, and get groups, if they have on average this many questions under one condition.
MIN_SUBJECT_QUESTIONS = 5

TUNED = ":tuned"
# Group names are part of the seed of their intervals. The group of the column `option_order` is named `order`.
_KINDS = ("suite", "condition", "cluster", "polarity", "order", "dataset")


@dataclass(frozen=True)
class Number:
    """A number computed from one answer; null where it is undefined."""

    name: str
    expr: pl.Expr
    is_binary: bool = True


NUMBERS = (
    Number("accuracy", is_right()),
    Number("p_correct", share_of(pl.col("correct_choice")), is_binary=False),
    Number("follows_user", is_followed()),
    Number("p_follows_user", share_of(pl.col("user_choice")), is_binary=False),
    # These two expose a model that answers by a rule: always the same word, or always the first option.
    Number("says_agree", pl.col("chosen") == agree_choice()),
    Number("says_first", pl.col("chosen") == 0),
)


def breakdown(base: pl.DataFrame, tuned: pl.DataFrame, seed: int, bootstrap_samples: int) -> pl.DataFrame:
    """A table with COLUMNS: each number in NUMBERS by suite, condition and group, from two ANSWERS tables.

    Raises:
        UserError: the two tables are not about the same questions.
    """
    require_same_questions(base, tuned)
    tuned_numbers = _with_numbers(tuned).drop(_KINDS)
    pairs = _with_numbers(base).join(tuned_numbers, on="question", suffix=TUNED, maintain_order="left")
    conditions = pairs.partition_by("suite", "condition", as_dict=True, maintain_order=True)
    rows = [
        row
        for (suite, condition), pairs_of_condition in conditions.items()
        for group, value, pairs_of_group in _groups(pairs_of_condition)
        for row in _rows((suite, condition, group, value), pairs_of_group, seed, bootstrap_samples)
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _with_numbers(answers: pl.DataFrame) -> pl.DataFrame:
    numbers = [number.expr.cast(pl.Float64).alias(number.name) for number in NUMBERS]
    close = is_close(pl.col("margin")).fill_null(value=False).alias("close")
    kinds = ("suite", "condition", "cluster", "polarity", pl.col("option_order").alias("order"))
    return answers.select("question", *kinds, dataset().alias("dataset"), *numbers, close)


def dataset() -> pl.Expr:
    """The data set of a claim, whatever its format; null for the questions of other suites."""
    # Claims in other formats are separate suites, `claims_…`.
    return pl.when(pl.col("suite").str.starts_with("claims")).then(pl.col("item").str.replace(r":[^:]*$", ""))


def _groups(pairs: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """All questions of one suite and condition, then its groups, each as (group's name, value, questions)."""
    yield "all", "", pairs
    for column in ("dataset", "polarity", "order", "cluster"):
        if column != "cluster" or _has_subjects(pairs):
            groups = pairs.drop_nulls(column).partition_by(column, as_dict=True)
            for (value,), group in sorted(groups.items()):
                # Within a subject, each question is its own cluster.
                yield column, value, group.with_columns(cluster="question") if column == "cluster" else group


def _has_subjects(pairs: pl.DataFrame) -> bool:
    """Whether clusters are subjects, tasks or statements with many questions each, and not single claims."""
    return pairs["order"].is_null().all() and pairs.height >= MIN_SUBJECT_QUESTIONS * pairs["cluster"].n_unique()


def _rows(
    name: tuple[str, str, str, str], pairs: pl.DataFrame, seed: int, bootstrap_samples: int
) -> Iterator[tuple[object, ...]]:
    for number in NUMBERS:
        defined = pairs.drop_nulls([number.name, number.name + TUNED])
        if not defined.is_empty():
            purpose = " ".join((*name, number.name))
            yield (*name, number.name, *_compare(number, defined, purpose, seed, bootstrap_samples))


def _compare(
    number: Number, pairs: pl.DataFrame, purpose: str, seed: int, bootstrap_samples: int
) -> tuple[object, ...]:
    """The columns of a row after its name, from `base` on."""
    base, tuned = pairs[number.name].to_numpy(), pairs[number.name + TUNED].to_numpy()
    clusters = pairs["cluster"].to_numpy()
    difference = paired_difference(
        Sample.unweighted(base), Sample.unweighted(tuned), clusters, bootstrap_samples, generator(seed, purpose)
    )
    p = mcnemar(base == 1.0, tuned == 1.0) if number.is_binary else None
    close = (int(pairs[column].sum()) for column in ("close", "close" + TUNED))
    return (*rounded(difference).values(), pairs["cluster"].n_unique(), None if p is None else round(p, 6), *close)
