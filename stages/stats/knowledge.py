"""The filter's decisions: which prompts are kept, the estimated share of known claims, and whether that is enough.

A model judges the opinion-free twin of each prompt, in both orders of the options.
"""

from typing import Any, Literal

import numpy as np
import polars as pl

from stages.core.errors import UserError
from stages.stats.choices import is_close
from stages.stats.intervals import Sample, generator, paired_difference

# If the estimated share of known claims is lower, many kept prompts are lucky guesses. The paper's 8B model was at
# chance and failed every later test (paper section 5).
TOO_LITTLE, LITTLE = 0.2, 0.5

BOOTSTRAP_SAMPLES = 2_000

Require = Literal["original_order", "both_orders", "nothing"]

# The columns of `judged` that are needed here; the others are long texts.
JUDGED_COLUMNS = (
    "dataset", "cluster", "form", "polarity", "claim_is_true", "correct_choice",
    "logprobs", "logprobs_swapped", "margin", "margin_swapped",
)  # fmt: skip


def with_verdicts(judged: pl.DataFrame) -> pl.DataFrame:
    """Adds whether the model was right in the original option order (`right`) and in the swapped one (`right_swapped`).

    Swapping the options moves the correct one to the other letter. If both log-probabilities are equal, the first
    option counts as chosen.
    """
    return judged.with_columns(
        right=pl.col("logprobs").list.arg_max().cast(pl.Int32) == pl.col("correct_choice"),
        right_swapped=pl.col("logprobs_swapped").list.arg_max().cast(pl.Int32) == 1 - pl.col("correct_choice"),
    )


def known(require: Require) -> pl.Expr:
    """Whether a prompt is kept, as an expression over the columns of `with_verdicts`."""
    return {
        "original_order": pl.col("right"),
        "both_orders": pl.col("right") & pl.col("right_swapped"),
        "nothing": pl.lit(True),
    }[require]


def knowledge(judged: pl.DataFrame, require: Require) -> dict[str, Any]:
    """The filter report: kept shares by data set, polarity, letter and truth, the known share, and a verdict.

    Raises:
        UserError: no prompt was judged.
    """
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
        **_counts(table),
        "known_share": _rounded(estimate),
        "known_share_low": _rounded(low),
        "known_share_high": _rounded(high),
        "verdict": verdict,
        "verdict_reason": reason,
        "close": close,
        "by_dataset": _counts_by(table, pl.col("dataset")),
        "by_polarity": _counts_by(table, pl.col("polarity")),
        "by_letter": _counts_by(table, pl.col("letter")),
        "by_truth": _counts_by(table, pl.when("claim_is_true").then(pl.lit("true")).otherwise(pl.lit("false"))),
    }


def _letter() -> pl.Expr:
    return pl.when(pl.col("correct_choice") == 0).then(pl.lit("A")).otherwise(pl.lit("B"))


def _known_share(table: pl.DataFrame) -> tuple[float, float, float]:
    """The estimated share of claims that the model knows, and its 95% interval.

    The estimate is the share right in both orders minus the share wrong in both. A model that guesses scores 0, and so
    does one that always says (A), or always Agree if true and false claims balance. A model that knows a share k and
    guesses the rest scores k.
    """
    scores = table.select(
        "cluster",
        score=(pl.col("right") & pl.col("right_swapped")).cast(pl.Float64)
        - (~pl.col("right") & ~pl.col("right_swapped")).cast(pl.Float64),
    )
    score = Sample.unweighted(scores["score"].to_numpy())
    zero = Sample.unweighted(np.zeros_like(score.values))
    mean = paired_difference(zero, score, scores["cluster"].to_numpy(), BOOTSTRAP_SAMPLES, generator(0, "known_share"))
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


def _counts_by(table: pl.DataFrame, group: pl.Expr) -> dict[str, Any]:
    groups = table.with_columns(group=group).partition_by("group", as_dict=True, maintain_order=True)
    return {str(name): _counts(rows) for (name,), rows in sorted(groups.items())}


def _counts(table: pl.DataFrame) -> dict[str, Any]:
    kept = int(table["kept"].sum())
    return {"judged": table.height, "kept": kept, "kept_share": _rounded(kept / max(table.height, 1))}


def _rounded(value: float) -> float:
    return round(value, 4) + 0.0  # turns -0.0 into 0.0
