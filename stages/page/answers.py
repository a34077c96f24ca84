"""What the page shows of a model's answers: accuracy by condition, and the answers that fine-tuning changed most."""

from math import sqrt

import polars as pl

from stages.project.errors import UserError

# The normal distribution's 97.5th percentile: 95% intervals.
Z = 1.959964


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share seen in `n` independent draws (Wilson 1927), which never leaves 0..1.

    Unlike the share's standard error, it has a width at shares of 0 and 1, where small models often are.
    """
    middle = share + Z**2 / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def accuracy(base: pl.DataFrame, tuned: pl.DataFrame) -> pl.DataFrame:
    """Share of right answers of both models by suite and condition, in the order of the tables.

    Columns: variant, suite, condition, share, low, high, n, chance (the share that guessing would get). Questions
    without a right answer, and those whose answer has to be written, are left out. The intervals count clusters, not
    questions: answers to one claim go together.
    """
    answers = pl.concat([base.with_columns(variant=pl.lit("base")), tuned.with_columns(variant=pl.lit("tuned"))])
    shares = (
        _chosen_among_several(answers)
        .group_by("variant", "suite", "condition", maintain_order=True)
        .agg(
            (pl.col("chosen") == pl.col("correct")).mean().alias("share"),
            pl.len().alias("n"),
            pl.col("cluster").n_unique().alias("clusters"),
            (1 / pl.col("choices").list.len()).mean().alias("chance"),
        )
    )
    intervals = [wilson(row["share"], row["clusters"]) for row in shares.iter_rows(named=True)]
    return shares.with_columns(
        pl.Series("low", [low for low, _ in intervals], dtype=pl.Float64),
        pl.Series("high", [high for _, high in intervals], dtype=pl.Float64),
    ).select("variant", "suite", "condition", "share", "low", "high", "n", "chance")


def _chosen_among_several(answers: pl.DataFrame) -> pl.DataFrame:
    """Answers that can be right or wrong: where an answer has to be written, the expected one is the only choice."""
    return answers.drop_nulls("correct").filter(pl.col("choices").list.len() > 1)


def changed_most(base: pl.DataFrame, tuned: pl.DataFrame, count: int) -> pl.DataFrame:
    """The `count` questions whose log-odds of the correct choice fine-tuning moved furthest, furthest first.

    Columns: question, suite, condition, base, tuned (natural log-odds of the correct choice against all others).

    Raises:
        UserError: the two tables do not answer the same questions.
    """
    if set(base["question"]) != set(tuned["question"]):
        raise UserError("the base and the tuned model did not answer the same questions; run `dvc repro`")
    both = _log_odds(base).rename({"log_odds": "base"})
    both = both.join(_log_odds(tuned).select("question", tuned="log_odds"), on="question")
    moved = (pl.col("tuned") - pl.col("base")).abs()
    return both.sort(moved, "question", descending=[True, False]).head(count)


def _log_odds(answers: pl.DataFrame) -> pl.DataFrame:
    logprobs = pl.col("logprobs").cast(pl.Float64)
    is_correct = pl.col("index") == pl.col("correct")
    # Against the largest of the other choices, so that the sum of their probabilities cannot underflow to zero.
    others = logprobs.filter(~is_correct)
    log_odds = logprobs.filter(is_correct).first() - others.max() - (others - others.max()).exp().sum().log()
    return (
        _chosen_among_several(answers)
        .select("question", "suite", "condition", "correct", "logprobs")
        .with_columns(index=pl.int_ranges(pl.col("logprobs").list.len()))
        .explode("index", "logprobs")
        .group_by("question", "suite", "condition", maintain_order=True)
        .agg(log_odds.alias("log_odds"))
    )
