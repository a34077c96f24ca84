"""The answers that fine-tuning changed most, with what was asked: the page's look inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from stages.core.errors import UserError
from stages.page.data.tables import set_of
from stages.stats.pairs import refuse_other_questions

# Shown at once; of each suite as many are on the page, for its filter to choose from, where that is of one model.
SHOWN = 30
# A longer prompt loses its beginning: the question stands at the end.
MOST_CHARACTERS = 1500
MOST_OF_CHOICE = 60


@dataclass(frozen=True)
class Choice:
    """One choice: its text, its probability to either model (0..1), and what it is to the question."""

    text: str
    base: float
    tuned: float
    is_correct: bool
    is_users: bool


@dataclass(frozen=True)
class ChangedAnswer:
    """A question with what both models made of it; `change` is in natural log-odds of the choice `towards`."""

    question: str
    suite: str
    set: str
    kind: str
    prompt: str
    choices: Sequence[Choice]
    base: str
    tuned: str
    outcome: str
    change: float


def changed_most(
    base: pl.DataFrame, tuned: pl.DataFrame, questions: pl.DataFrame, of_suite: int = SHOWN
) -> list[ChangedAnswer]:
    """The questions whose answer moved furthest, furthest first: `SHOWN` of all, and `of_suite` of each suite.

    Movement is that of the log-odds of the correct choice, or, where there is none, of the user's, against all others.
    `questions` are QUESTIONS tables.

    Raises:
        UserError: the tables do not hold the same questions.
    """
    refuse_other_questions(base, tuned)
    if not set(base["question"]) <= set(questions["question"]):
        raise UserError("the models answered other questions than the suites now hold; run `dvc repro`")
    aim = pl.coalesce("correct_choice", "user_choice")
    rows = (
        base.with_columns(set=set_of(), aim=aim)
        .filter(pl.col("aim").is_not_null(), pl.col("choices").list.len() > 1)
        .join(tuned.select("question", tuned_logprobs="logprobs", tuned_chosen="chosen"), on="question")
        .with_columns(change=_log_odds("tuned_logprobs") - _log_odds("logprobs"))
        .sort(pl.col("change").abs(), "question", descending=[True, False])
    )
    place = pl.int_range(pl.len())
    most = rows.filter((place < SHOWN) | (place.over("suite") < of_suite))
    prompts = questions.select("question", "turns", "answer_prefix")
    shown = most.join(prompts, on="question", maintain_order="left")
    return [_changed(row) for row in shown.iter_rows(named=True)]


def _log_odds(column: str) -> pl.Expr:
    """Of the choice `aim` against all others, so that neither probability can underflow to zero."""
    logprobs = pl.col(column).cast(pl.List(pl.Float64))
    aimed = logprobs.list.get(pl.col("aim"))
    others = pl.concat_list(
        logprobs.list.slice(0, pl.col("aim")), logprobs.list.slice(pl.col("aim") + 1)
    )  # fmt: skip
    largest = others.list.max()
    return aimed - largest - (others - largest).list.eval(pl.element().exp()).list.sum().log()


def _changed(row: Mapping[str, Any]) -> ChangedAnswer:
    texts = [_choice_text(text, row["turns"][-1]["text"]) for text in row["choices"]]
    probabilities = zip(_probabilities(row["logprobs"]), _probabilities(row["tuned_logprobs"]), strict=True)
    return ChangedAnswer(
        question=row["question"],
        suite=row["suite"],
        set=row["set"],
        kind=row["condition"].replace("_", " "),
        prompt=_prompt(row["turns"], row["answer_prefix"]),
        choices=[
            Choice(text, before, after, index == row["correct_choice"], index == row["user_choice"])
            for index, (text, (before, after)) in enumerate(zip(texts, probabilities, strict=True))
        ],
        base=texts[row["chosen"]],
        tuned=texts[row["tuned_chosen"]],
        outcome=_outcome(row["chosen"], row["tuned_chosen"], row["correct_choice"], row["user_choice"]),
        change=row["change"],
    )


def _choice_text(text: str, asked: str) -> str:
    """A choice with what its letter stands for, where the question lists that in a line of its own."""
    choice = text.strip()
    lines = (line.strip() for line in asked.splitlines()) if choice.startswith("(") else ()
    return next((line[:MOST_OF_CHOICE] for line in lines if line.startswith(f"{choice} ")), choice)


def _probabilities(logprobs: Sequence[float]) -> list[float]:
    """Of each choice among the choices."""
    series = pl.Series(logprobs, dtype=pl.Float64)
    weights = (series - series.max()).exp()
    return (weights / weights.sum()).to_list()


def _prompt(turns: Sequence[Mapping[str, str]], answer_prefix: str) -> str:
    text = "\n\n".join(turn["text"] if len(turns) == 1 else f"{turn['role']}: {turn['text']}" for turn in turns)
    whole = f"{text}\n{answer_prefix} …" if answer_prefix else text
    return whole if len(whole) <= MOST_CHARACTERS else f"… {whole[-MOST_CHARACTERS:]}"


def _outcome(base: int, tuned: int, correct: int | None, users: int | None) -> str:
    if correct is not None:
        before, after = base == correct, tuned == correct
        changed = "now right" if after else "now wrong"
        return changed if before != after else ("still right" if after else "still wrong")
    if base == tuned:
        return "same answer"
    return "now with the user" if tuned == users else "now against the user"
