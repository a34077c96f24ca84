"""Two models' answers to the same questions."""

import polars as pl

from stages.core.errors import UserError
from stages.tables.schemas import ANSWERS

# What a question is, as opposed to what a model made of it.
_ASKED = [column for column in ANSWERS.columns if column not in ("logprobs", "margin", "chosen", "generated")]


def require_same_questions(base: pl.DataFrame, tuned: pl.DataFrame) -> None:
    """Refuses two ANSWERS tables that are not about the same questions.

    Raises:
        UserError: they are not; the message names a question that differs.
    """
    asked = [
        table.select("question", pl.struct(_ASKED).alias(variant))
        for variant, table in (("base", base), ("tuned", tuned))
    ]
    both = asked[0].join(asked[1], on="question", how="full", coalesce=True)
    differing = both.filter(pl.col("base").ne_missing(pl.col("tuned"))).get_column("question").sort()
    if len(differing):
        raise UserError(
            f"the base and the tuned model did not answer the same questions: {len(differing)} differ, "
            f"for example {differing[0]!r}; run `dvc repro` to have both answer again"
        )
