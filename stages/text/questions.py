"""Questions of an evaluation: what all lettered ones, agree or disagree, have in common."""

import polars as pl

from stages.text import templates
from stages.text.tables import QUESTIONS


def lettered_questions(asked: pl.DataFrame, suite: str, condition: str, text: pl.Expr, user: bool) -> pl.DataFrame:
    """Questions of `text` about the claims of `asked`, under one condition; `user` says whether one states an opinion.

    Reads the columns name, item, cluster, true, order, polarity and, with a user, opinion.
    """
    order = pl.col("order")
    matches_user = templates.choice_of(pl.col("opinion") == "agree", order) if user else pl.lit(None, dtype=pl.Int32)
    return asked.select(
        suite=pl.lit(suite),
        question=pl.format("{}/{}", "name", pl.lit(condition)),
        item="item",
        condition=pl.lit(condition),
        cluster="cluster",
        turns=templates.user_turn(text),
        shared_prefix=pl.lit(""),
        answer_prefix=pl.lit(templates.ANSWER_PREFIX),
        choices=pl.lit(list(templates.CHOICES)),
        correct=templates.choice_of(pl.col("true"), order),
        matches_user=matches_user,
        polarity="polarity",
        order="order",
    ).select(QUESTIONS.names)
