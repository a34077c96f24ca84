"""Converts tables of questions to `lm` questions, scores them, and converts the scores to columns."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from stages.core.progress import progress
from stages.lm.scoring.questions import Question, score_questions
from stages.lm.scoring.scorer import Scorer
from stages.lm.tokens.prompt_formats import Prompts


def score_table(scorer: Scorer, prompts: Prompts, questions: pl.DataFrame) -> pl.DataFrame:
    """Scores rows of QUESTIONS that have several choices, and adds the columns of ANSWERS."""
    with progress("asking", questions.height, "questions") as advance:
        logprobs = list(score_questions(scorer, prompts, to_questions(questions), advance))
    return questions.with_columns(
        logprobs=logprobs_series(logprobs),
        generated=pl.lit(None, dtype=pl.String),
    ).with_columns(chosen=pl.col("logprobs").list.arg_max().cast(pl.Int32), margin=margin("logprobs"))


def logprobs_series(logprobs: Sequence[np.ndarray]) -> pl.Series:
    """The log-probabilities of each question's choices as a column."""
    return pl.Series([values.tolist() for values in logprobs], dtype=pl.List(pl.Float32))


def to_questions(questions: pl.DataFrame) -> Iterator[Question]:
    """Rows of QUESTIONS as questions for the scorer."""
    columns = ("question", "turns", "answer_prefix", "choices", "shared_prefix")
    return (Question(*row) for row in questions.select(columns).iter_rows())


def margin(logprobs: str) -> pl.Expr:
    """The log-probability of the likeliest choice minus the next one's (natural log, float32); null without choices."""
    ordered = pl.col(logprobs).list.sort(descending=True)
    return ordered.list.get(0) - ordered.list.get(1)
