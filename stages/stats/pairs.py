"""Checks that two models answered the same questions."""

import polars as pl

from stages.core.errors import UserError
from stages.tables.schemas import ANSWERS

# The columns that belong to the question and not to a model's answer.
_QUESTION_COLUMNS = [
    column for column in ANSWERS.columns if column not in ("logprobs", "margin", "chosen", "generated")
]


def require_same_questions(base: pl.DataFrame, tuned: pl.DataFrame) -> None:
    """Checks that two ANSWERS tables have the same questions.

    Raises:
        UserError: they differ; the message names one question that differs.
    """
    base_questions, tuned_questions = (
        table.select("question", pl.struct(_QUESTION_COLUMNS).alias(variant))
        for variant, table in (("base", base), ("tuned", tuned))
    )
    both = base_questions.join(tuned_questions, on="question", how="full", coalesce=True)
    differing = both.filter(pl.col("base").ne_missing(pl.col("tuned"))).get_column("question").sort()
    if len(differing):
        raise UserError(
            f"the base and the tuned model did not answer the same questions: {len(differing)} differ, "
            f"for example {differing[0]!r}; run `dvc repro` to have both answer again"
        )
