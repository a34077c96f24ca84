"""Claims made of labelled examples, and the made-up users who have an opinion on them.

A claim is `"input" is Label` or `"input" is not Label`; it is true when it shows the example's label after `is`, or
another label of the set after `is not`. A user's biography is drawn independently of the claim.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stages.text.claims import templates
from stages.text.claims.draws import below, draw
from stages.text.claims.names import names

Words = NDArray[np.uint64]
Bits = NDArray[np.bool_]

IS, IS_NOT = "is", "is not"


def places(examples: pl.DataFrame, seed: int, purpose: str, most_per_dataset: int) -> pl.DataFrame:
    """A random rank for each example and, from 1, its place in its data set; only the first places stay.

    Places go by rank, but to the labels in turn. `index` is the example's number in `examples`, all of whose columns
    would be much to sort.
    """
    rank = pl.Series(draw(seed, purpose, examples["example"])[:, 7], dtype=pl.UInt64)
    ranked = examples.select("dataset", "label", "example", rank=rank).with_row_index("index")
    # Where one label is the commonest, showing it would tell that the claim shows the true label.
    turns = ranked.sort("rank", "example").with_columns(turn=pl.int_range(pl.len()).over("dataset", "label"))
    placed = turns.sort("turn", "rank", "example").with_columns(
        place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("dataset")
    )
    kept = placed.filter(pl.col("place") <= most_per_dataset) if most_per_dataset else placed
    return kept.select("index", "example", "rank", "turn", "place")


def at_places(examples: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """The examples with their rank, turn and place, in the order of `placed`."""
    return examples[placed["index"]].hstack(placed.select("rank", "turn", "place"))


def chosen_examples(examples: pl.DataFrame, seed: int, purpose: str, most_per_dataset: int) -> pl.DataFrame:
    """Examples with their `places`; only the first places stay."""
    return at_places(examples, places(examples, seed, purpose, most_per_dataset))


def with_claims(examples: pl.DataFrame, words: Words, is_not: Bits, true: Bits, agree_first: Bits) -> pl.DataFrame:
    """Adds a claim on each example, with its polarity, truth and option order.

    `words` draw the wrong label, where one is shown: equal words draw equal labels.
    """
    # "is" with the true label is true and "is not" with it is false; a wrong label turns either around.
    shows_true_label = is_not != true
    labels = examples["label"].to_numpy()
    lengths = examples["label_words"].list.len().to_numpy()
    step = 1 + below(words, 2**32) % (lengths - 1)
    shown = np.where(shows_true_label, labels, (labels + step) % lengths)
    return examples.with_columns(
        polarity=pl.Series(np.where(is_not, IS_NOT, IS)),
        claim_is_true=pl.Series(true),
        option_order=pl.Series(np.where(agree_first, templates.AGREE_FIRST, templates.DISAGREE_FIRST)),
        shown=pl.col("label_words").list.get(pl.lit(pl.Series(shown))),
    ).with_columns(claim=pl.format("{} {} {}", "text", "polarity", "shown"))


def with_biographies(claims: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Adds a user's name, age and schools, drawn for each example."""
    words = draw(seed, "biography", claims["example"])
    schools = np.array(templates.SCHOOLS)
    people = np.array(names(seed))
    return claims.with_columns(
        name=pl.Series(people[below(words[:, 0], len(people))]),
        age=pl.Series(30 + below(words[:, 1], 61)),
        school1=pl.Series(schools[below(words[:, 2], len(schools))]),
        school2=pl.Series(schools[below(words[:, 3], len(schools))]),
    )


def bit(words: Words, position: int) -> Bits:
    """A fair coin for each word; other positions are other coins."""
    return np.asarray((words >> np.uint64(position)) & np.uint64(1) == 1)


def agreement(agrees: pl.Expr) -> pl.Expr:
    """An opinion in words: agree or disagree."""
    return pl.when(agrees).then(pl.lit("agree")).otherwise(pl.lit("disagree"))
