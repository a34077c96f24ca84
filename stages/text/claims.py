"""Claims made of labelled examples, and the prompts and questions that ask about them.

A claim is `"input" is Label` or `"input" is not Label`. In the paper's form the label is always the true one, so that
polarity gives the truth away; in the balanced form truth and polarity are independent. A user's opinion, the option
order and all of a biography are drawn independently of the claim.
"""

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stages.text import templates
from stages.text.draws import below, draw
from stages.text.names import names

Form = Literal["paper", "balanced"]
Words = NDArray[np.uint64]
Bits = NDArray[np.bool_]

IS, IS_NOT = "is", "is not"
_COMBINATIONS = 8  # truth x polarity x option order


def training_prompts(examples: pl.DataFrame, seed: int, form: Form, count: int, most_per_dataset: int) -> pl.DataFrame:
    """Prompts with an opinion and their opinion-free twins, from `count` examples drawn without replacement.

    At most `most_per_dataset` come from one data set (0: no limit). The order is that of the draw.
    """
    chosen = _chosen(examples, seed, "training prompt", most_per_dataset).sort("rank", "example").head(count)
    words = draw(seed, "training claim", chosen["example"])
    is_not, agrees, agree_first, truth = (_bit(words[:, 0], position) for position in range(4))
    claims = _with_claims(chosen, words[:, 1], is_not, ~is_not if form == "paper" else truth, agree_first)
    opinions = claims.with_columns(opinion=_agreement(pl.lit(pl.Series(agrees))))
    return _with_biographies(opinions, seed).select(
        prompt=pl.format("{}/{}", "example", pl.lit(form)),
        example="example",
        dataset="dataset",
        cluster="cluster",
        claim="claim",
        form=pl.lit(form),
        polarity="polarity",
        true="true",
        opinion="opinion",
        order="order",
        turns=templates.user_turn(templates.claim_with_opinion(pl.col("order"))),
        bare_turns=templates.user_turn(templates.claim_alone(pl.col("order"))),
        bare_turns_swapped=templates.user_turn(templates.claim_alone(templates.swapped(pl.col("order")))),
        answer_prefix=pl.lit(templates.ANSWER_PREFIX),
        choices=pl.lit(list(templates.CHOICES)),
        correct=templates.choice_of(pl.col("true"), pl.col("order")),
        matches_user=templates.choice_of(pl.col("opinion") == "agree", pl.col("order")),
    )


def held_out_questions(examples: pl.DataFrame, seed: int, per_dataset: int) -> pl.DataFrame:
    """Held-out claims as questions without an opinion, with a right one and with a wrong one.

    Always balanced: within a data set truth, polarity and option order take all eight combinations in turn, so that
    always agreeing, always choosing (A) and reading the polarity are each right half the time.
    """
    chosen = _chosen(examples, seed, "held-out claim", per_dataset).sort("dataset", "place")
    words = draw(seed, "held-out claim", chosen["example"])
    combination = (chosen["place"].to_numpy() - 1).astype(np.uint64) % np.uint64(_COMBINATIONS)
    is_not, truth, agree_first = (_bit(combination, position) for position in range(3))
    claims = _with_biographies(_with_claims(chosen, words[:, 1], is_not, truth, agree_first), seed)
    return pl.concat(_condition(claims, condition) for condition in ("no_opinion", "right_opinion", "wrong_opinion"))


def _condition(claims: pl.DataFrame, condition: str) -> pl.DataFrame:
    order = pl.col("order")
    asked = claims.with_columns(
        opinion=_agreement(pl.col("true") if condition == "right_opinion" else ~pl.col("true")),
    )
    if condition == "no_opinion":
        text, matches_user = templates.claim_alone(order), pl.lit(None, dtype=pl.Int32)
    else:
        text = templates.claim_with_opinion(order)
        matches_user = templates.choice_of(pl.col("opinion") == "agree", order)
    return asked.select(
        suite=pl.lit("claims"),
        question=pl.format("{}/{}", "example", pl.lit(condition)),
        item="example",
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
    )


def _chosen(examples: pl.DataFrame, seed: int, purpose: str, most_per_dataset: int) -> pl.DataFrame:
    """Examples with a random rank and, from 1, their place in their data set; only the first places stay.

    Places go by rank, but to the labels in turn.
    """
    ranked = examples.with_columns(rank=pl.Series(draw(seed, purpose, examples["example"])[:, 7], dtype=pl.UInt64))
    # Where one label is the commonest, showing it would tell that the claim shows the true label.
    turns = ranked.sort("rank", "example").with_columns(turn=pl.int_range(pl.len()).over("dataset", "label"))
    placed = turns.sort("turn", "rank", "example").with_columns(
        place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("dataset")
    )
    return placed.filter(pl.col("place") <= most_per_dataset) if most_per_dataset else placed


def _with_claims(examples: pl.DataFrame, words: Words, is_not: Bits, true: Bits, agree_first: Bits) -> pl.DataFrame:
    # "is" with the true label is true and "is not" with it is false; a wrong label turns either around.
    shows_true_label = is_not != true
    labels = examples["label"].to_numpy()
    lengths = examples["label_words"].list.len().to_numpy()
    step = 1 + below(words, 2**32) % (lengths - 1)
    shown = np.where(shows_true_label, labels, (labels + step) % lengths)
    return examples.with_columns(
        polarity=pl.Series(np.where(is_not, IS_NOT, IS)),
        true=pl.Series(true),
        order=pl.Series(np.where(agree_first, templates.AGREE_FIRST, templates.DISAGREE_FIRST)),
        shown=pl.col("label_words").list.get(pl.lit(pl.Series(shown))),
    ).with_columns(claim=pl.format("{} {} {}", "text", "polarity", "shown"))


def _with_biographies(claims: pl.DataFrame, seed: int) -> pl.DataFrame:
    words = draw(seed, "biography", claims["example"])
    schools = np.array(templates.SCHOOLS)
    people = np.array(names(seed))
    return claims.with_columns(
        name=pl.Series(people[below(words[:, 0], len(people))]),
        age=pl.Series(30 + below(words[:, 1], 61)),
        school1=pl.Series(schools[below(words[:, 2], len(schools))]),
        school2=pl.Series(schools[below(words[:, 3], len(schools))]),
    )


def _bit(words: Words, position: int) -> Bits:
    return np.asarray((words >> np.uint64(position)) & np.uint64(1) == 1)


def _agreement(agrees: pl.Expr) -> pl.Expr:
    return pl.when(agrees).then(pl.lit("agree")).otherwise(pl.lit("disagree"))
