"""Claims about labelled examples, and the made-up users who have an opinion on them.

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


def select_examples(examples: pl.DataFrame, seed: int, purpose: str, most_per_dataset: int) -> pl.DataFrame:
    """Draws at most `most_per_dataset` examples of each data set (0: no limit), its labels taking turns.

    Returns one narrow row for each example, because sorting all columns of `examples` would be slow: `index` (its row
    in `examples`), `example`, `draw_order` (a random number), `round` (from 0: how many examples with its data set and
    label come before it) and `rank_in_dataset` (from 1: its position in its data set, by round and draw order).
    """
    draw_order = pl.Series(draw(seed, purpose, examples["example"])[:, 7], dtype=pl.UInt64)
    table = examples.select("dataset", "label", "example", draw_order=draw_order).with_row_index("index")
    # Labels take turns: if one label were the most common, a claim that shows it would more often show the true label.
    rounds = table.sort("draw_order", "example").with_columns(round=pl.int_range(pl.len()).over("dataset", "label"))
    ranked = rounds.sort("round", "draw_order", "example").with_columns(
        rank_in_dataset=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("dataset")
    )
    selected = ranked.filter(pl.col("rank_in_dataset") <= most_per_dataset) if most_per_dataset else ranked
    return selected.select("index", "example", "draw_order", "round", "rank_in_dataset")


def selected_rows(examples: pl.DataFrame, selected: pl.DataFrame) -> pl.DataFrame:
    """The rows of `examples` that `select_examples` returned, in its order and with its columns."""
    return examples[selected["index"]].hstack(selected.select("draw_order", "round", "rank_in_dataset"))


def chosen_examples(examples: pl.DataFrame, seed: int, purpose: str, most_per_dataset: int) -> pl.DataFrame:
    """The rows that `select_examples` draws, with all columns of `examples`."""
    return selected_rows(examples, select_examples(examples, seed, purpose, most_per_dataset))


def with_claims(examples: pl.DataFrame, words: Words, is_not: Bits, true: Bits, agree_first: Bits) -> pl.DataFrame:
    """Adds a claim about each example, with its polarity, truth and option order.

    Where a wrong label is shown, `words` (64 random bits for each example) decide which; equal words choose alike.
    """
    # "is" with the true label is true and "is not" with it is false; with a wrong label it is the other way around.
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
    """Adds a user's name, age and schools, drawn by the example's id."""
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
    """A fair coin for each word: its bit at `position`, independent of its other bits."""
    return np.asarray((words >> np.uint64(position)) & np.uint64(1) == 1)


def agreement(agrees: pl.Expr) -> pl.Expr:
    """The opinion as text: agree or disagree."""
    return pl.when(agrees).then(pl.lit("agree")).otherwise(pl.lit("disagree"))
