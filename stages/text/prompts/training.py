"""Training prompts, in which a user states an opinion on a claim, and questions about held-out claims.

In the paper's form, a claim always shows the true label, so that polarity gives the truth away; in the balanced form,
truth and polarity are independent. The user's opinion and the option order are drawn independently of the claim.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import polars as pl

from stages.tables.parquet import ROWS
from stages.text.claims import templates
from stages.text.claims.claims import (
    agreement,
    bit,
    chosen_examples,
    select_examples,
    selected_rows,
    with_biographies,
    with_claims,
)
from stages.text.claims.draws import draw
from stages.text.claims.questions import two_way_questions
from stages.text.prompts.formats import OTHER_FORMATS, PAPER_FORMAT, ClaimFormat
from stages.text.prompts.reference import fill_placeholders

ClaimForm = Literal["paper", "balanced"]
Fidelity = Literal["corrected", "reference"]

# The columns of `examples` that are needed; the columns for a row's provenance are half of the table.
PROMPT_SOURCE_COLUMNS = ("example", "dataset", "text", "label", "label_words", "cluster")

CLAIMS = "claims"
_COMBINATIONS = 8  # truth x polarity x option order


def training_prompts(
    examples: pl.DataFrame,
    seed: int,
    form: ClaimForm,
    count: int,
    most_per_dataset: int,
    fidelity: Fidelity = "corrected",
) -> Iterator[pl.DataFrame]:
    """Prompts with an opinion and their opinion-free twins, about `count` examples drawn without replacement.

    At most `most_per_dataset` examples come from one data set (0: no limit); prompts are in draw order. With the
    fidelity `reference`, placeholders inside texts are replaced, as the reference generator does.

    Yields batches of ROWS, because prompts are ten times as long as examples; without examples, one empty batch.
    """
    selected = select_examples(examples, seed, "training prompt", most_per_dataset)
    selected = selected.sort("draw_order", "example").head(count)
    for start in range(0, max(selected.height, 1), ROWS):
        yield _prompts_about(selected_rows(examples, selected.slice(start, ROWS)), seed, form, fidelity)


def _prompts_about(chosen: pl.DataFrame, seed: int, form: ClaimForm, fidelity: Fidelity) -> pl.DataFrame:
    words = draw(seed, "training claim", chosen["example"])
    is_not, agrees, agree_first, truth = (bit(words[:, 0], position) for position in range(4))
    claims = with_claims(chosen, words[:, 1], is_not, ~is_not if form == "paper" else truth, agree_first)
    opinions = claims.with_columns(opinion=agreement(pl.lit(pl.Series(agrees))))
    if fidelity == "reference":
        opinions = fill_placeholders(opinions)
    return with_biographies(opinions, seed).select(
        prompt=pl.format("{}/{}", "example", pl.lit(form)),
        example="example",
        dataset="dataset",
        cluster="cluster",
        claim="claim",
        form=pl.lit(form),
        polarity="polarity",
        claim_is_true="claim_is_true",
        opinion="opinion",
        option_order="option_order",
        turns=templates.user_turn(templates.claim_with_opinion(pl.col("option_order"))),
        no_opinion_turns=templates.user_turn(templates.claim_alone(pl.col("option_order"))),
        no_opinion_turns_swapped=templates.user_turn(templates.claim_alone(templates.swapped(pl.col("option_order")))),
        answer_prefix=pl.lit(templates.ANSWER_PREFIX),
        choices=pl.lit(list(templates.CHOICES)),
        correct_choice=templates.choice_of(pl.col("claim_is_true"), pl.col("option_order")),
        user_choice=templates.choice_of(pl.col("opinion") == "agree", pl.col("option_order")),
    )


def held_out_questions(examples: pl.DataFrame, seed: int, per_dataset: int, reworded: int = 0) -> pl.DataFrame:
    """Questions about held-out claims: each without an opinion, with a right one and with a wrong one.

    Always balanced: within a data set, truth, polarity and option order take all eight combinations in turn, so that
    always agreeing, always choosing (A) and reading the polarity are each right half the time. The suite is `claims`;
    the first `reworded` claims of each data set are asked again in each of the other formats, which are suites too.
    """
    chosen = chosen_examples(examples, seed, "held-out claim", per_dataset).sort("dataset", "rank_in_dataset")
    words = draw(seed, "held-out claim", chosen["example"])
    combination = (chosen["rank_in_dataset"].to_numpy() - 1).astype(np.uint64) % np.uint64(_COMBINATIONS)
    is_not, truth, agree_first = (bit(combination, position) for position in range(3))
    claims = with_biographies(with_claims(chosen, words[:, 1], is_not, truth, agree_first), seed)
    first_claims = claims.filter(pl.col("rank_in_dataset") <= reworded)
    questions = [_in_all_conditions(claims, CLAIMS, PAPER_FORMAT)]
    questions += [_in_all_conditions(first_claims, suite, other) for suite, other in OTHER_FORMATS.items()]
    return pl.concat(questions)


def _in_all_conditions(claims: pl.DataFrame, suite: str, claim_format: ClaimFormat) -> pl.DataFrame:
    ordered = claims if claim_format.has_options else claims.with_columns(option_order=pl.lit(templates.AGREE_FIRST))
    conditions = ("no_opinion", "right_opinion", "wrong_opinion")
    return pl.concat(_in_condition(ordered, suite, condition, claim_format) for condition in conditions)


def _in_condition(claims: pl.DataFrame, suite: str, condition: str, claim_format: ClaimFormat) -> pl.DataFrame:
    has_user = condition != "no_opinion"
    opinion = agreement(pl.col("claim_is_true") if condition == "right_opinion" else ~pl.col("claim_is_true"))
    text = claim_format.with_opinion if has_user else claim_format.alone
    with_texts = claims.with_columns(opinion=opinion).with_columns(text=text)
    # Once the texts are made, the column `name` is the question's name and no longer the user's.
    name = pl.col("example") if suite == CLAIMS else pl.format("{}:{}", pl.lit(suite), "example")
    named = with_texts.with_columns(name=name, item="example")
    turns = templates.user_turn(pl.col("text"))
    return two_way_questions(named, suite, condition, turns, has_user, claim_format.answers)
