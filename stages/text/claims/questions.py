"""Rows of the questions table: for suites that ask about claims (agree or disagree), and for suites read from files."""

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
    """How the answer to a claim begins, and the two choices that continue it, in the order of the options."""

    prefix: str
    choices: tuple[str, str]


LETTERED = AnswerOptions(templates.ANSWER_PREFIX, templates.CHOICES)


def two_way_questions(
    claims: pl.DataFrame, suite: str, condition: str, turns: pl.Expr, has_user: bool, answers: AnswerOptions = LETTERED
) -> pl.DataFrame:
    """One question for each claim, under one condition; `turns` is the conversation that asks it.

    Reads the columns name, item, cluster, claim_is_true, option_order, polarity and, where `has_user` says that a user
    states an opinion, opinion.
    """
    order = pl.col("option_order")
    user_choice = templates.choice_of(pl.col("opinion") == "agree", order) if has_user else pl.lit(None, dtype=pl.Int32)
    return claims.select(
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

    Where the model answers in its own words (`answer_kind` WRITTEN), `choices` holds only the expected answer.
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


def question_table(suite: str, questions: Iterable[SuiteQuestion]) -> pl.DataFrame:
    """The questions of a suite as a QUESTIONS table; item and condition together identify one."""
    rows = [
        {
            "suite": suite,
            "question": f"{suite}:{question.item}/{question.condition}",
            "item": question.item,
            "condition": question.condition,
            "cluster": f"{suite}:{question.cluster}",
            "turns": [{"role": "user", "text": question.text}],
            "shared_prefix": question.shared_prefix,
            "answer_prefix": question.answer_prefix,
            "choices": list(question.choices),
            "answer_kind": question.answer_kind,
            "correct_choice": question.correct_choice,
            "user_choice": question.user_choice,
            "polarity": None,
            "option_order": None,
        }
        for question in questions
    ]
    return pl.DataFrame(rows, schema=QUESTIONS.columns)


def sample_indices(seed: int, purpose: str, rows: int, count: int) -> list[int]:
    """`count` of the indices 0..rows-1, drawn without replacement, in ascending order; 0 takes them all."""
    if not count or count >= rows:
        return list(range(rows))
    ranks = draw(seed, purpose, map(str, range(rows)))[:, 0]
    return sorted(np.argsort(ranks, kind="stable")[:count].tolist())
