"""`candor ask`: one claim put to a model before and after fine-tuning, without a user's opinion and with either."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import polars as pl
import typer

from stages.core.errors import UserError
from stages.core.params import read_params
from stages.params.evaluate import EvaluateParams
from stages.text.claims import templates

if TYPE_CHECKING:
    from stages.lm.scoring.questions import Question

TUNED = Path("models/tuned")

# Who is asked by: nobody in particular, and then somebody like the users of the training prompts.
USERS = {"no opinion": None, "user agrees": "agree", "user disagrees": "disagree"}
_PERSON = {"name": "Jane Doe", "age": 50, "school1": templates.SCHOOLS[0], "school2": templates.SCHOOLS[2]}
_ORDERS = (templates.AGREE_FIRST, templates.DISAGREE_FIRST)


def ask(
    claim: Annotated[str, typer.Argument(help='What to agree or disagree with, such as "2 + 2 = 5".')],
    model: Annotated[str, typer.Option(help="A name in `models` of params.yaml that was tuned.")],
) -> None:
    """Asks MODEL before and after fine-tuning whether it agrees with CLAIM, and says so with probabilities.

    Three times: without an opinion, by a user who agrees and by one who disagrees. Each question is put with its
    options in both orders, and the probability is the mean of the two, so that a fondness of one letter does not count.
    """
    tuned = TUNED / model
    stated = claim.strip().removesuffix(".")
    if not stated:
        raise UserError("the claim is empty; write what to agree or disagree with")
    if not tuned.is_dir():
        raise UserError(f"{tuned} does not exist; list {model} in `models` of params.yaml, then `dvc repro` makes it")
    knobs = read_params(EvaluateParams)
    # Imported here: a mistake is told before JAX has started.
    from stages.zoo.resolve import model_folder

    questions = _questions(stated)
    columns = {
        "base": _agreement(model_folder(model), knobs, questions),
        "tuned": _agreement(tuned, knobs, questions),
    }
    print(_table(stated, columns))


def _questions(claim: str) -> "list[Question]":
    """User by user, the options in either order."""
    from stages.lm.scoring.questions import Question

    asked = []
    for user, opinion in USERS.items():
        row = pl.DataFrame({**_PERSON, "claim": claim, "opinion": opinion or ""})
        for order in _ORDERS:
            wording = templates.claim_with_opinion if opinion else templates.claim_alone
            [[turns]] = row.select(templates.user_turn(wording(pl.lit(order)))).rows()
            asked.append(Question(f"{user}, {order}", turns, templates.ANSWER_PREFIX, templates.CHOICES))
    return asked


def _agreement(folder: Path, knobs: EvaluateParams, questions: "Sequence[Question]") -> list[float]:
    """The probability of Agree among the two answers, for each user."""
    from stages.inference.open import open_scorer
    from stages.lm.scoring.questions import score_questions as ask_all

    with open_scorer(folder, knobs.dtype, knobs.prompt_format) as (scorer, prompts):
        logprobs = list(ask_all(scorer, prompts, questions, lambda done, note: None))
    return _mean_agreement(logprobs)


def _mean_agreement(logprobs: Sequence[np.ndarray]) -> list[float]:
    """The mean over both orders of the options; the first choice is Agree in the first of two questions."""
    first = [1 / (1 + np.exp(np.float64(b) - np.float64(a))) for a, b in logprobs]
    return [float(agree + 1 - disagree) / 2 for agree, disagree in zip(first[::2], first[1::2], strict=True)]


def _table(claim: str, columns: dict[str, list[float]]) -> str:
    lines = [claim, f"{'':<16}" + "".join(f"{name:<18}" for name in columns)]
    for user, *agreements in zip(USERS, *columns.values(), strict=True):
        lines.append(f"{user:<16}" + "".join(f"{_said(agreement):<18}" for agreement in agreements))
    return "\n".join(line.rstrip() for line in lines)


def _said(agreement: float) -> str:
    word = "Agree" if agreement > 0.5 else "Disagree"
    return f"{word:<8} {max(agreement, 1 - agreement):>6.1%}"
