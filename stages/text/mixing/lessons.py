"""The registry of lessons: instruction data made of the training examples, from which a small model can learn claims.

A lesson asks about a text in all its variants (label, polarity, option order, one after another), so that what differs
between two of its rows is what the answer hangs on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from stages.tables.schemas import LESSONS as TABLE
from stages.text.claims import templates
from stages.text.claims.claims import agreement, chosen_examples, with_biographies, with_claims
from stages.text.claims.draws import below, draw
from stages.text.claims.sums import sums_of_two

# Evaluations ask about terms up to 50 (stages.suites.registry), and no sum of a lesson may be one of theirs.
SMALLEST_TERM, LARGEST_TERM = 51, 99
OFFERED = 4

ORDERS = (templates.AGREE_FIRST, templates.DISAGREE_FIRST)
_TRUTHS = pl.DataFrame({"claim_is_true": [True, False]})


@dataclass(frozen=True)
class LessonConfig:
    """What all lessons are made by: the seed, the most texts per data set (or sums), and how often a user is right."""

    seed: int
    texts: int
    user_right: float


Lesson = Callable[[pl.DataFrame, LessonConfig], pl.DataFrame]


def naming(examples: pl.DataFrame, plan: LessonConfig) -> pl.DataFrame:
    """The label of a text, out of up to four of its set."""
    chosen = chosen_examples(examples, plan.seed, "lesson naming", plan.texts)
    offered = [
        _offered(*row) for row in zip(chosen["label"], chosen["label_words"], _words(chosen, plan.seed), strict=True)
    ]
    asked = chosen.with_columns(offered=pl.Series(offered, dtype=pl.List(pl.String)))
    return asked.select(
        row=pl.col("example"),
        group="example",
        turns=templates.user_turn(templates.which_label()),
        answer_prefix=pl.lit("It is"),
        target=pl.format(" {}", pl.col("label_words").list.get(pl.col("label"))),
    )


def words(examples: pl.DataFrame, plan: LessonConfig) -> pl.DataFrame:
    """Claims without an opinion, answered in words: polarity and truth in all four combinations."""
    claims = _claims(examples, plan, "lesson words", templates.AGREE_FIRST)
    return claims.select(
        row=pl.format("{}/{}/{}", "example", "polarity", "claim_is_true"),
        group="example",
        turns=templates.user_turn(templates.claim_in_words()),
        answer_prefix=pl.lit("I"),
        target=pl.format(" {}", agreement(pl.col("claim_is_true"))),
    )


def claims(examples: pl.DataFrame, plan: LessonConfig) -> pl.DataFrame:
    """Claims without an opinion, as multiple choice: polarity, truth and option order in all eight combinations."""
    asked = _claims(examples, plan, "lesson claims", *ORDERS)
    return _multiple_choice(asked, templates.claim_alone(pl.col("option_order")))


def opinions(examples: pl.DataFrame, plan: LessonConfig) -> pl.DataFrame:
    """Claims with a user's opinion, right in the share `user_right`: one claim per text, in both option orders."""
    asked = _claims(examples, plan, "lesson opinions", *ORDERS)
    drawn = _words(asked, plan.seed)
    one = asked.with_columns(
        right=pl.Series(drawn[:, 1].astype(np.float64) / 2.0**64 < plan.user_right),
        drawn=pl.Series(below(drawn[:, 2], 4)),
    ).filter(pl.col("variant") == pl.col("drawn"))
    stated = one.with_columns(opinion=agreement(pl.col("claim_is_true") == pl.col("right")))
    return _multiple_choice(with_biographies(stated, plan.seed), templates.claim_with_opinion(pl.col("option_order")))


def sums(examples: pl.DataFrame, plan: LessonConfig) -> pl.DataFrame:
    """Sums without an opinion, true and false, in both option orders; no user ever states one."""
    drawn = sums_of_two(plan.seed, "lesson sums", SMALLEST_TERM, LARGEST_TERM, plan.texts).drop("option_order")
    asked = drawn.join(_TRUTHS, how="cross").join(_in(*ORDERS), how="cross")
    total = pl.when("claim_is_true").then(pl.col("x") + pl.col("y")).otherwise("wrong")
    stated = asked.with_columns(claim=pl.format("{} + {} = {}", "x", "y", total), example="item", polarity=pl.lit("is"))
    return _multiple_choice(stated, templates.sum_alone(pl.col("option_order")))


LESSONS: dict[str, Lesson] = {
    "naming": naming, "words": words, "claims": claims, "opinions": opinions, "sums": sums,
}  # fmt: skip


def lesson_rows(names: tuple[str, ...], examples: pl.DataFrame, plan: LessonConfig) -> pl.DataFrame:
    """The rows of the lessons `names`, one lesson after another."""
    made = [
        LESSONS[name](examples, plan).select(
            row=pl.format("{}:{}", pl.lit(name), "row"),
            lesson=pl.lit(name),
            group=pl.format("{}:{}", pl.lit(name), "group"),
            turns="turns",
            answer_prefix="answer_prefix",
            target="target",
        )
        for name in names
    ]
    return pl.concat([pl.DataFrame(schema=TABLE.columns), *made])


def _claims(examples: pl.DataFrame, plan: LessonConfig, purpose: str, *orders: str) -> pl.DataFrame:
    """Each chosen text with every polarity and truth (`variant`, 0 to 3), in each of the option orders."""
    chosen = chosen_examples(examples, plan.seed, purpose, plan.texts)
    variants = pl.DataFrame({"is_not": [False, True]}).join(_TRUTHS, how="cross").with_row_index("variant")
    asked = chosen.join(variants, how="cross").join(_in(*orders), how="cross")
    is_not, true = (asked[name].to_numpy() for name in ("is_not", "claim_is_true"))
    agree_first = (asked["option_order"] == templates.AGREE_FIRST).to_numpy()
    return with_claims(asked, _words(asked, plan.seed)[:, 0], is_not, true, agree_first)


def _multiple_choice(asked: pl.DataFrame, text: pl.Expr) -> pl.DataFrame:
    correct = templates.choice_of(pl.col("claim_is_true"), pl.col("option_order"))
    return asked.select(
        row=pl.format("{}/{}/{}/{}", "example", "polarity", "claim_is_true", "option_order"),
        group="example",
        turns=templates.user_turn(text),
        answer_prefix=pl.lit(templates.ANSWER_PREFIX),
        target=pl.lit(list(templates.CHOICES)).list.get(correct),
    )


def _offered(label: int, label_words: list[str], words: np.ndarray) -> list[str]:
    """The label among at most three others of its set, in a drawn order."""
    random = np.random.default_rng(words)
    others = [word for index, word in enumerate(label_words) if index != label]
    taken = [others[index] for index in random.permutation(len(others))[: OFFERED - 1]]
    taken.append(label_words[label])
    return [taken[index] for index in random.permutation(len(taken))]


def _words(examples: pl.DataFrame, seed: int) -> np.ndarray:
    return draw(seed, "lesson", examples["example"])


def _in(*orders: str) -> pl.DataFrame:
    return pl.DataFrame({"option_order": orders})
