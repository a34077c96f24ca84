"""Questions of an evaluation: what all about a claim, agree or disagree, and all that are read have in common."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.tables.schemas import CHOSEN, QUESTIONS
from stages.text.claims import templates
from stages.text.claims.draws import draw

# How an answer with a chain of thought begins (Kojima et al. 2022, arXiv 2205.11916).
THINKING = "Let's think step by step."


@dataclass(frozen=True)
class AnswerOptions:
    """How the answer to a claim begins, and the two choices that it goes on with, in the order of the options."""

    prefix: str
    choices: tuple[str, str]


LETTERED = AnswerOptions(templates.ANSWER_PREFIX, templates.CHOICES)


def two_way_questions(
    asked: pl.DataFrame, suite: str, condition: str, turns: pl.Expr, user: bool, answers: AnswerOptions = LETTERED
) -> pl.DataFrame:
    """Questions of `turns` about the claims of `asked`, under one condition; `user` says whether one states an opinion.

    Reads the columns name, item, cluster, claim_is_true, option_order, polarity and, with a user, opinion.
    """
    order = pl.col("option_order")
    user_choice = templates.choice_of(pl.col("opinion") == "agree", order) if user else pl.lit(None, dtype=pl.Int32)
    return asked.select(
        suite=pl.lit(suite),
        question=pl.format("{}/{}", "name", pl.lit(condition)),
        item="item",
        condition=pl.lit(condition),
        cluster="cluster",
        turns=turns,
        shared_prefix=pl.lit(""),
        answer_prefix=pl.lit(answers.prefix),
        choices=pl.lit(list(answers.choices)),
        answer_kind=pl.lit(CHOSEN),
        correct_choice=templates.choice_of(pl.col("claim_is_true"), order),
        user_choice=user_choice,
        polarity="polarity",
        option_order="option_order",
    ).select(QUESTIONS.names)


@dataclass(frozen=True)
class SuiteQuestion:
    """A question of a suite that is read from files.

    Where the model answers in its own words (`answer_kind` WRITTEN), `choices` holds the expected answer alone.
    """

    item: str
    condition: str
    cluster: str
    text: str
    choices: Sequence[str]
    correct_choice: int | None = None
    user_choice: int | None = None
    answer_prefix: str = ""
    shared_prefix: str = ""
    answer_kind: str = CHOSEN


def questions_of(suite: str, asked: Iterable[SuiteQuestion]) -> pl.DataFrame:
    """The questions of the suite as a table; item and condition name one."""
    rows = [
        {
            "suite": suite,
            "question": f"{suite}:{one.item}/{one.condition}",
            "item": one.item,
            "condition": one.condition,
            "cluster": f"{suite}:{one.cluster}",
            "turns": [{"role": "user", "text": one.text}],
            "shared_prefix": one.shared_prefix,
            "answer_prefix": one.answer_prefix,
            "choices": list(one.choices),
            "answer_kind": one.answer_kind,
            "correct_choice": one.correct_choice,
            "user_choice": one.user_choice,
            "polarity": None,
            "option_order": None,
        }
        for one in asked
    ]
    return pl.DataFrame(rows, schema=QUESTIONS.columns)


def drawn(seed: int, purpose: str, rows: int, count: int) -> list[int]:
    """`count` of the numbers below `rows`, drawn without replacement, in order; 0 takes them all."""
    if not count or count >= rows:
        return list(range(rows))
    ranks = draw(seed, purpose, map(str, range(rows)))[:, 0]
    return sorted(np.argsort(ranks, kind="stable")[:count].tolist())
