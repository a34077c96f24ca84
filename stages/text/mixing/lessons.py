"""The registry of lessons: instruction data from the training examples that teach a small model to judge claims.

A lesson asks about a text in all variants of label, polarity and option order, one after another, so that two of its
rows differ only in what the answer depends on.
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

# Evaluations ask about terms up to 50 (stages.suites.addition), and no lesson may ask about one of their sums.
SMALLEST_TERM, LARGEST_TERM = 51, 99
# Labels that the lesson `naming` offers for a text.
OFFERED = 4

ORDERS = (templates.AGREE_FIRST, templates.DISAGREE_FIRST)
_TRUTHS = pl.DataFrame({"claim_is_true": [True, False]})


@dataclass(frozen=True)
class LessonConfig:
    """Settings of all lessons: the seed, the maximum of texts per data set (or sums), and how often a user is right."""

    seed: int
    texts: int
    user_right: float


Lesson = Callable[[pl.DataFrame, LessonConfig], pl.DataFrame]


def naming(examples: pl.DataFrame, config: LessonConfig) -> pl.DataFrame:
    """Asks for the label of a text, out of up to four labels of its set."""
    chosen = chosen_examples(examples, config.seed, "lesson naming", config.texts)
    columns = (chosen["label"], chosen["label_words"], _random_words(chosen, config.seed))
    offered = [_offered_labels(*row) for row in zip(*columns, strict=True)]
    return chosen.with_columns(offered=pl.Series(offered, dtype=pl.List(pl.String))).select(
        row=pl.col("example"),
        group="example",
        turns=templates.user_turn(templates.which_label()),
        answer_prefix=pl.lit("It is"),
        target=pl.format(" {}", pl.col("label_words").list.get(pl.col("label"))),
    )


def words(examples: pl.DataFrame, config: LessonConfig) -> pl.DataFrame:
    """Asks about claims without an opinion, answered in words: polarity and truth in all four combinations."""
    claims = _claims(examples, config, "lesson words", templates.AGREE_FIRST)
    return claims.select(
        row=pl.format("{}/{}/{}", "example", "polarity", "claim_is_true"),
        group="example",
        turns=templates.user_turn(templates.claim_in_words()),
        answer_prefix=pl.lit("I"),
        target=pl.format(" {}", agreement(pl.col("claim_is_true"))),
    )


def claims(examples: pl.DataFrame, config: LessonConfig) -> pl.DataFrame:
    """The same claims as multiple choice: polarity, truth and option order in all eight combinations."""
    table = _claims(examples, config, "lesson claims", *ORDERS)
    return _multiple_choice(table, templates.claim_alone(pl.col("option_order")))


def opinions(examples: pl.DataFrame, config: LessonConfig) -> pl.DataFrame:
    """Asks about one claim per text after a user's opinion, right in the share `user_right`, in both option orders."""
    variants = _claims(examples, config, "lesson opinions", *ORDERS)
    random_words = _random_words(variants, config.seed)
    one_per_text = variants.with_columns(
        user_is_right=pl.Series(random_words[:, 1].astype(np.float64) / 2.0**64 < config.user_right),
        drawn_variant=pl.Series(below(random_words[:, 2], 4)),
    ).filter(pl.col("variant") == pl.col("drawn_variant"))
    stated = one_per_text.with_columns(opinion=agreement(pl.col("claim_is_true") == pl.col("user_is_right")))
    return _multiple_choice(with_biographies(stated, config.seed), templates.claim_with_opinion(pl.col("option_order")))


def sums(examples: pl.DataFrame, config: LessonConfig) -> pl.DataFrame:
    """Asks about sums, true and false, in both option orders; no user states an opinion on them."""
    table = sums_of_two(config.seed, "lesson sums", SMALLEST_TERM, LARGEST_TERM, config.texts).drop("option_order")
    variants = table.join(_TRUTHS, how="cross").join(_option_orders(*ORDERS), how="cross")
    total = pl.when("claim_is_true").then(pl.col("x") + pl.col("y")).otherwise("wrong")
    claim = pl.format("{} + {} = {}", "x", "y", total)
    stated = variants.with_columns(claim=claim, example="item", polarity=pl.lit("is"))
    return _multiple_choice(stated, templates.sum_alone(pl.col("option_order")))


LESSONS: dict[str, Lesson] = {
    "naming": naming, "words": words, "claims": claims, "opinions": opinions, "sums": sums,
}  # fmt: skip


def lesson_rows(names: tuple[str, ...], examples: pl.DataFrame, config: LessonConfig) -> pl.DataFrame:
    """The rows of the lessons `names`, one lesson after another."""
    tables = [
        LESSONS[name](examples, config).select(
            row=pl.format("{}:{}", pl.lit(name), "row"),
            lesson=pl.lit(name),
            group=pl.format("{}:{}", pl.lit(name), "group"),
            turns="turns",
            answer_prefix="answer_prefix",
            target="target",
        )
        for name in names
    ]
    return pl.concat([pl.DataFrame(schema=TABLE.columns), *tables])


def _claims(examples: pl.DataFrame, config: LessonConfig, purpose: str, *orders: str) -> pl.DataFrame:
    """Each chosen text with every polarity and truth (`variant`, 0 to 3), in each of the option orders."""
    chosen = chosen_examples(examples, config.seed, purpose, config.texts)
    variants = pl.DataFrame({"is_not": [False, True]}).join(_TRUTHS, how="cross").with_row_index("variant")
    table = chosen.join(variants, how="cross").join(_option_orders(*orders), how="cross")
    is_not, true = (table[name].to_numpy() for name in ("is_not", "claim_is_true"))
    agree_first = (table["option_order"] == templates.AGREE_FIRST).to_numpy()
    return with_claims(table, _random_words(table, config.seed)[:, 0], is_not, true, agree_first)


def _multiple_choice(claims: pl.DataFrame, text: pl.Expr) -> pl.DataFrame:
    correct = templates.choice_of(pl.col("claim_is_true"), pl.col("option_order"))
    return claims.select(
        row=pl.format("{}/{}/{}/{}", "example", "polarity", "claim_is_true", "option_order"),
        group="example",
        turns=templates.user_turn(text),
        answer_prefix=pl.lit(templates.ANSWER_PREFIX),
        target=pl.lit(list(templates.CHOICES)).list.get(correct),
    )


def _offered_labels(label: int, label_words: list[str], seed_words: np.ndarray) -> list[str]:
    """The label word and at most three others of its set, in random order."""
    random = np.random.default_rng(seed_words)
    others = [word for index, word in enumerate(label_words) if index != label]
    offered = [others[index] for index in random.permutation(len(others))[: OFFERED - 1]]
    offered.append(label_words[label])
    return [offered[index] for index in random.permutation(len(offered))]


def _random_words(examples: pl.DataFrame, seed: int) -> np.ndarray:
    return draw(seed, "lesson", examples["example"])


def _option_orders(*orders: str) -> pl.DataFrame:
    return pl.DataFrame({"option_order": orders})
