"""The shortcut audit: how often a rule is right that never reads the text a claim is about.

Of the paper's form of claims, polarity alone gives the answer away; a model trained on them may learn that word and
nothing else. Every rule learns from the training prompts which answer is the more frequent for what it reads.
"""

from typing import Any

import polars as pl

from stages.text.claims.templates import AGREE_FIRST

# The columns of `prompts` that are read.
SHORTCUT_COLUMNS = ("polarity", "option_order", "opinion", "claim", "claim_is_true")

RULES: dict[str, tuple[str, ...]] = {
    "always_the_same": (),
    "polarity": ("polarity",),
    "order": ("option_order",),
    "opinion": ("opinion",),
    "label": ("label",),
    "polarity_and_label": ("polarity", "label"),
}

# The label words end the claim; a text that holds the same words stands before them.
_LABEL = r'(?s).*" is (?:not )?([^"]+?)$'
_LABEL_IN_QUESTION = r'(?s).*" is (?:not )?([^"]+?)\.\n\nChoices:'


def shortcuts(prompts: pl.DataFrame, claims: pl.DataFrame) -> dict[str, Any]:
    """Of each rule, the share of right answers (agree or disagree) on training prompts and on held-out claims.

    Held-out claims are those with a user's opinion, a right and a wrong one of each; 0.5 is chance on them.
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
    said = pl.col("turns").list.first().struct.field("text")
    return claims.drop_nulls("user_choice").select(
        "polarity",
        "option_order",
        opinion=pl.when((pl.col("user_choice") == 0) == first_agrees)
        .then(pl.lit("agree"))
        .otherwise(pl.lit("disagree")),
        label=said.str.extract(_LABEL_IN_QUESTION),
        agrees=(pl.col("correct_choice") == 0) == first_agrees,
    )


def _accuracy(columns: tuple[str, ...], training: pl.DataFrame, tried: pl.DataFrame) -> float | None:
    """Null where there is nothing to learn from or to try on."""
    if training.is_empty() or tried.is_empty():
        return None
    read = pl.concat_str(pl.lit(""), *columns, separator="|")
    learnt = training.group_by(read.alias("read")).agg(answer=_mostly_agree())
    answers = tried.select("agrees", read=read).join(learnt, on="read", how="left")
    # What was never seen in training gets the answer that is the more frequent of all.
    guessed = answers["answer"].fill_null(training.select(_mostly_agree()).item())
    return round(int((guessed == answers["agrees"]).sum()) / tried.height, 4)


def _mostly_agree() -> pl.Expr:
    return pl.col("agrees").mean() >= 0.5
