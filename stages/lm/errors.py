"""Problems with a model's files or with a question."""

from collections.abc import Iterator
from contextlib import contextmanager

from stages.project.errors import UserError


class ModelError(UserError):
    """A model, tokenizer or checkpoint that cannot be used."""


class QuestionError(UserError):
    """A question or training example that cannot be used; who raises it may not know its row, `named` adds it."""


@contextmanager
def named(name: str) -> Iterator[None]:
    """Puts `name` before the message of a question's or example's problem."""
    try:
        yield
    except QuestionError as error:
        raise QuestionError(f"{name}: {error}") from None
