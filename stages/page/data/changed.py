"""The answers that fine-tuning changed most, with their questions, for the page's section "Look inside"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from stages.core.errors import UserError
from stages.page.data.tables import question_set
from stages.stats.pairs import require_same_questions

# Answers that the page shows at once. A page of one model has as many of each suite, for its filter to choose from.
SHOWN = 30
# A longer prompt loses its beginning, because the question is at the end.
MAX_PROMPT_CHARACTERS = 1500
MAX_CHOICE_CHARACTERS = 60


@dataclass(frozen=True)
class ShownChoice:
    """One choice of a question: its text, its probability under either model (0..1), and whether it is right."""

    text: str
    base: float
    tuned: float
    is_correct: bool
    is_users: bool


@dataclass(frozen=True)
class ChangedAnswer:
    """A question with both models' answers.

    `change` is in natural log-odds of the right choice, or of the user's choice where none is right.
    """

    question: str
    suite: str
    set: str
    kind: str
    prompt: str
    choices: Sequence[ShownChoice]
    base: str
    tuned: str
    outcome: str
    change: float


def most_changed(
    base: pl.DataFrame, tuned: pl.DataFrame, questions: pl.DataFrame, per_suite: int = SHOWN
) -> list[ChangedAnswer]:
    """The questions whose answers changed most, largest change first: `SHOWN` of all, and `per_suite` of each suite.

    The change is that of the log-odds of the correct choice against all others, or of the user's choice where none is
    correct. `base` and `tuned` are ANSWERS tables, `questions` is a QUESTIONS table.

    Raises:
        UserError: the tables do not hold the same questions.
    """
    require_same_questions(base, tuned)
    if not set(base["question"]) <= set(questions["question"]):
        raise UserError("the models answered other questions than the suites now hold; run `dvc repro`")
    target = pl.coalesce("correct_choice", "user_choice")
    rows = (
        base.with_columns(set=question_set(), target=target)
        .filter(pl.col("target").is_not_null(), pl.col("choices").list.len() > 1)
        .join(tuned.select("question", tuned_logprobs="logprobs", tuned_chosen="chosen"), on="question")
        .with_columns(change=_log_odds("tuned_logprobs") - _log_odds("logprobs"))
        .sort(pl.col("change").abs(), "question", descending=[True, False])
    )
    rank = pl.int_range(pl.len())
    most = rows.filter((rank < SHOWN) | (rank.over("suite") < per_suite))
    prompts = questions.select("question", "turns", "answer_prefix")
    shown = most.join(prompts, on="question", maintain_order="left")
    return [_changed_answer(row) for row in shown.iter_rows(named=True)]


def _log_odds(column: str) -> pl.Expr:
    """Log-odds of the choice `target` against all others, computed so that no probability underflows to zero."""
    logprobs = pl.col(column).cast(pl.List(pl.Float64))
    target = logprobs.list.get(pl.col("target"))
    others = pl.concat_list(
        logprobs.list.slice(0, pl.col("target")), logprobs.list.slice(pl.col("target") + 1)
    )  # fmt: skip
    largest = others.list.max()
    return target - largest - (others - largest).list.eval(pl.element().exp()).list.sum().log()


def _changed_answer(row: Mapping[str, Any]) -> ChangedAnswer:
    texts = [_choice_text(text, row["turns"][-1]["text"]) for text in row["choices"]]
    probabilities = zip(_probabilities(row["logprobs"]), _probabilities(row["tuned_logprobs"]), strict=True)
    return ChangedAnswer(
        question=row["question"],
        suite=row["suite"],
        set=row["set"],
        kind=row["condition"].replace("_", " "),
        prompt=_prompt(row["turns"], row["answer_prefix"]),
        choices=[
            ShownChoice(text, before, after, index == row["correct_choice"], index == row["user_choice"])
            for index, (text, (before, after)) in enumerate(zip(texts, probabilities, strict=True))
        ],
        base=texts[row["chosen"]],
        tuned=texts[row["tuned_chosen"]],
        outcome=_outcome(row["chosen"], row["tuned_chosen"], row["correct_choice"], row["user_choice"]),
        change=row["change"],
    )


def _choice_text(text: str, question: str) -> str:
    """A choice's letter with its meaning, if the question has a line for it."""
    choice = text.strip()
    lines = (line.strip() for line in question.splitlines()) if choice.startswith("(") else ()
    return next((line[:MAX_CHOICE_CHARACTERS] for line in lines if line.startswith(f"{choice} ")), choice)


def _probabilities(logprobs: Sequence[float]) -> list[float]:
    """Each choice's probability among the choices, from log-probabilities."""
    series = pl.Series(logprobs, dtype=pl.Float64)
    weights = (series - series.max()).exp()
    return (weights / weights.sum()).to_list()


def _prompt(turns: Sequence[Mapping[str, str]], answer_prefix: str) -> str:
    text = "\n\n".join(turn["text"] if len(turns) == 1 else f"{turn['role']}: {turn['text']}" for turn in turns)
    prompt = f"{text}\n{answer_prefix} …" if answer_prefix else text
    return prompt if len(prompt) <= MAX_PROMPT_CHARACTERS else f"… {prompt[-MAX_PROMPT_CHARACTERS:]}"


def _outcome(base: int, tuned: int, correct: int | None, users: int | None) -> str:
    """A label for the change from choice `base` to choice `tuned`."""
    if correct is not None:
        before, after = base == correct, tuned == correct
        changed = "now right" if after else "now wrong"
        return changed if before != after else ("still right" if after else "still wrong")
    if base == tuned:
        return "same answer"
    return "now with the user" if tuned == users else "now against the user"
