"""Which prompts a model knows, by its judgement of their opinion-free twins, and whether it knows enough."""

from typing import Any, Literal

import numpy as np
import polars as pl

from stages.core.errors import UserError
from stages.stats.choices import is_close
from stages.stats.intervals import Sample, generator, paired_difference

# Shares of claims estimated as known, below which training on the kept ones is training on guesses. The 8B model of
# the paper was at chance and failed every later test (paper section 5).
TOO_LITTLE, LITTLE = 0.2, 0.5

RESAMPLES = 2_000

Require = Literal["original_order", "both_orders", "nothing"]

# The columns of `judged` that say what a model knows; the others are long texts.
JUDGED_COLUMNS = (
    "dataset", "cluster", "form", "polarity", "claim_is_true", "correct_choice",
    "logprobs", "logprobs_swapped", "margin", "margin_swapped",
)  # fmt: skip


def with_verdicts(judged: pl.DataFrame) -> pl.DataFrame:
    """Adds whether the model was right in the original option order (`right`) and in the other (`right_swapped`).

    Swapping the options moves the correct one to the other letter. Of two equal log-probabilities the first counts.
    """
    return judged.with_columns(
        right=pl.col("logprobs").list.arg_max().cast(pl.Int32) == pl.col("correct_choice"),
        right_swapped=pl.col("logprobs_swapped").list.arg_max().cast(pl.Int32) == 1 - pl.col("correct_choice"),
    )


def known(require: Require) -> pl.Expr:
    """Whether a prompt is kept."""
    return {
        "original_order": pl.col("right"),
        "both_orders": pl.col("right") & pl.col("right_swapped"),
        "nothing": pl.lit(True),
    }[require]


def knowledge(judged: pl.DataFrame, require: Require) -> dict[str, Any]:
    """Kept shares by data set, polarity, letter and truth, the estimated share of known claims, and a verdict."""
    if judged.is_empty():
        raise UserError(
            "no prompt was judged: no example passed cleaning; raise clean.max_characters or list more datasets"
        )
    table = with_verdicts(judged).with_columns(kept=known(require), letter=_letter())
    close = table.select((is_close(pl.col("margin")) | is_close(pl.col("margin_swapped"))).sum()).item()
    estimate, low, high = _known_share(table)
    verdict, reason = _verdict(estimate)
    if (table["form"] == "paper").all():
        reason += "; claims of the paper's form give the answer away by `is` or `is not`, so this may be no knowledge"
    return {
        **_share(table),
        "known_share": _rounded(estimate),
        "known_share_low": _rounded(low),
        "known_share_high": _rounded(high),
        "verdict": verdict,
        "verdict_reason": reason,
        "close": close,
        "by_dataset": _by(table, pl.col("dataset")),
        "by_polarity": _by(table, pl.col("polarity")),
        "by_letter": _by(table, pl.col("letter")),
        "by_truth": _by(table, pl.when("claim_is_true").then(pl.lit("true")).otherwise(pl.lit("false"))),
    }


def _letter() -> pl.Expr:
    return pl.when(pl.col("correct_choice") == 0).then(pl.lit("A")).otherwise(pl.lit("B"))


def _known_share(table: pl.DataFrame) -> tuple[float, float, float]:
    # Right in both orders less wrong in both: a guesser scores 0, and so does who always says (A), or always Agree
    # where true and false claims balance; who knows a share k and guesses the rest scores k.
    both = table.select(
        "cluster",
        score=(pl.col("right") & pl.col("right_swapped")).cast(pl.Float64)
        - (~pl.col("right") & ~pl.col("right_swapped")).cast(pl.Float64),
    )
    score = Sample.even(both["score"].to_numpy())
    nothing = Sample.even(np.zeros_like(score.values))
    mean = paired_difference(nothing, score, both["cluster"].to_numpy(), RESAMPLES, generator(0, "known_share"))
    return mean.delta, mean.delta_low, mean.delta_high


def _verdict(known_share: float) -> tuple[str, str]:
    share = f"an estimated {max(known_share, 0.0):.0%} of the claims"
    if known_share < TOO_LITTLE:
        return (
            "too little knowledge",
            f"the model knows {share}; most kept prompts are lucky guesses, and training on them teaches noise",
        )
    if known_share < LITTLE:
        return "little knowledge", f"the model knows {share}; a good part of the kept prompts are lucky guesses"
    return "enough knowledge", f"the model knows {share}"


def _by(table: pl.DataFrame, group: pl.Expr) -> dict[str, Any]:
    parts = table.with_columns(group=group).partition_by("group", as_dict=True, maintain_order=True)
    return {str(name): _share(part) for (name,), part in sorted(parts.items())}


def _share(table: pl.DataFrame) -> dict[str, Any]:
    kept = int(table["kept"].sum())
    return {"judged": table.height, "kept": kept, "kept_share": _rounded(kept / max(table.height, 1))}


def _rounded(value: float) -> float:
    return round(value, 4) + 0.0
