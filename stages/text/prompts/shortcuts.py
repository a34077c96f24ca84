"""The shortcut audit: the accuracy of rules that never read the text that a claim is about.

In the paper's form of claims, polarity alone gives the answer away, and a model that is trained on them may learn only
that word. Each rule learns from the training prompts which answer is more frequent for each value of its columns.
"""

from typing import Any

import polars as pl

from stages.text.claims.templates import AGREE_FIRST

# The columns that `shortcuts` reads of the prompts table.
SHORTCUT_COLUMNS = ("polarity", "option_order", "opinion", "claim", "claim_is_true")

RULES: dict[str, tuple[str, ...]] = {
    "always_the_same": (),
    "polarity": ("polarity",),
    "order": ("option_order",),
    "opinion": ("opinion",),
    "label": ("label",),
    "polarity_and_label": ("polarity", "label"),
}

# The label words end the claim; the greedy `.*` passes over a text that contains the same words.
_LABEL = r'(?s).*" is (?:not )?([^"]+?)$'
_LABEL_IN_QUESTION = r'(?s).*" is (?:not )?([^"]+?)\.\n\nChoices:'


def shortcuts(prompts: pl.DataFrame, claims: pl.DataFrame) -> dict[str, Any]:
    """The accuracy of each rule (agree or disagree) on the training prompts and on the held-out claims.

    The held-out claims are those with a user's opinion, each with a right and with a wrong one; chance is 0.5 on them.
    """
    training, held_out = _training(prompts), _held_out(claims)
    return {
        "prompts": training.height,
        "claims": held_out.height,
        **{
            name: {
                "training_prompts": _accuracy(columns, training, training),
                "held_out_claims": _accuracy(columns, training, held_out),
            }
            for name, columns in RULES.items()
        },
    }


def _training(prompts: pl.DataFrame) -> pl.DataFrame:
    return prompts.select(
        "polarity", "option_order", "opinion", label=pl.col("claim").str.extract(_LABEL), agrees=pl.col("claim_is_true")
    )


def _held_out(claims: pl.DataFrame) -> pl.DataFrame:
    first_agrees = pl.col("option_order") == AGREE_FIRST
    text = pl.col("turns").list.first().struct.field("text")
    return claims.drop_nulls("user_choice").select(
        "polarity",
        "option_order",
        opinion=pl.when((pl.col("user_choice") == 0) == first_agrees)
        .then(pl.lit("agree"))
        .otherwise(pl.lit("disagree")),
        label=text.str.extract(_LABEL_IN_QUESTION),
        agrees=(pl.col("correct_choice") == 0) == first_agrees,
    )


def _accuracy(columns: tuple[str, ...], training: pl.DataFrame, test: pl.DataFrame) -> float | None:
    """The accuracy on `test` of the rule that reads `columns`; null where one of the tables is empty."""
    if training.is_empty() or test.is_empty():
        return None
    features = pl.concat_str(pl.lit(""), *columns, separator="|")
    majority = training.group_by(features.alias("features")).agg(answer=_mostly_agree())
    answers = test.select("agrees", features=features).join(majority, on="features", how="left")
    # Values that do not occur in training get the answer that is more frequent overall.
    guesses = answers["answer"].fill_null(training.select(_mostly_agree()).item())
    return round(int((guesses == answers["agrees"]).sum()) / test.height, 4)


def _mostly_agree() -> pl.Expr:
    return pl.col("agrees").mean() >= 0.5
