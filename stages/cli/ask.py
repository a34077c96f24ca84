"""`candor ask`: asks a model about one claim, before and after fine-tuning, without and with a user's opinion."""

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

# The rows of the printed table: the user's opinion, or None for a question without a user.
USERS = {"no opinion": None, "user agrees": "agree", "user disagrees": "disagree"}
# A user like those of the training prompts.
_PERSON = {"name": "Jane Doe", "age": 50, "school1": templates.SCHOOLS[0], "school2": templates.SCHOOLS[2]}
_ORDERS = (templates.AGREE_FIRST, templates.DISAGREE_FIRST)


def ask(
    claim: Annotated[str, typer.Argument(help='The claim to agree or disagree with, for example "2 + 2 = 5".')],
    model: Annotated[str, typer.Option(help="A fine-tuned model, by its name in `models` of params.yaml.")],
) -> None:
    """Asks MODEL whether it agrees with CLAIM, and prints its answers and probabilities before and after fine-tuning.

    The claim is asked three times: without an opinion, by a user who agrees, and by a user who disagrees. Each question
    is asked with its options in both orders and the mean of both is printed, so that a preference for one letter does
    not count.
    """
    tuned = TUNED / model
    claim = claim.strip().removesuffix(".")
    if not claim:
        raise UserError("the claim is empty; write what to agree or disagree with")
    if not tuned.is_dir():
        raise UserError(f"{tuned} does not exist; list {model} in `models` of params.yaml, then `dvc repro` makes it")
    params = read_params(EvaluateParams)
    # Imported here, so that mistakes are reported before JAX starts, which takes seconds.
    from stages.zoo.resolve import model_folder

    questions = _questions(claim)
    columns = {
        "base": _agreement(model_folder(model), params, questions),
        "tuned": _agreement(tuned, params, questions),
    }
    print(_table(claim, columns))


def _questions(claim: str) -> "list[Question]":
    """Two questions for each user, with the options in either order."""
    from stages.lm.scoring.questions import Question

    questions = []
    for user, opinion in USERS.items():
        row = pl.DataFrame({**_PERSON, "claim": claim, "opinion": opinion or ""})
        for order in _ORDERS:
            wording = templates.claim_with_opinion if opinion else templates.claim_alone
            [[turns]] = row.select(templates.user_turn(wording(pl.lit(order)))).rows()
            questions.append(Question(f"{user}, {order}", turns, templates.ANSWER_PREFIX, templates.CHOICES))
    return questions


def _agreement(folder: Path, params: EvaluateParams, questions: "Sequence[Question]") -> list[float]:
    """The probability of Agree among the two choices, for each user."""
    from stages.inference.open import open_scorer
    from stages.lm.scoring.questions import score_questions

    with open_scorer(folder, params.dtype, params.prompt_format) as (scorer, prompts):
        logprobs = list(score_questions(scorer, prompts, questions, lambda done, note: None))
    return _mean_agreement(logprobs)


def _mean_agreement(logprobs: Sequence[np.ndarray]) -> list[float]:
    """The mean over both option orders; in the first question of each pair the first choice is Agree."""
    first = [1 / (1 + np.exp(np.float64(b) - np.float64(a))) for a, b in logprobs]
    return [float(agree + 1 - disagree) / 2 for agree, disagree in zip(first[::2], first[1::2], strict=True)]


def _table(claim: str, columns: dict[str, list[float]]) -> str:
    lines = [claim, f"{'':<16}" + "".join(f"{name:<18}" for name in columns)]
    for user, *agreements in zip(USERS, *columns.values(), strict=True):
        lines.append(f"{user:<16}" + "".join(f"{_answer(agreement):<18}" for agreement in agreements))
    return "\n".join(line.rstrip() for line in lines)


def _answer(agreement: float) -> str:
    """The likelier answer with its probability."""
    word = "Agree" if agreement > 0.5 else "Disagree"
    return f"{word:<8} {max(agreement, 1 - agreement):>6.1%}"
