"""How a mistake reaches its user: one line, exit status 1, no traceback."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

_GOES_ON = "stopped: nothing half-written was left; the same command goes on from here"


class UserError(Exception):
    """Something its user can mend: the message says what, where, what is allowed and what to do."""


class ModelError(UserError):
    """A model, tokenizer or checkpoint that cannot be used."""


class QuestionError(UserError):
    """A question or training example that cannot be used; who raises it may not know its row, `named` adds it."""


class Interrupted(Exception):
    """A signal asked for an end, and the work was brought to a state that it goes on from."""

    def __init__(self, number: signal.Signals):
        super().__init__(number.name)
        self.status = 128 + number


@contextmanager
def named(name: str) -> Iterator[None]:
    """Puts `name` before the message of a question's or example's problem."""
    try:
        yield
    except QuestionError as error:
        raise QuestionError(f"{name}: {error}") from None


def run(main: Callable[..., Any]) -> None:
    """Runs `main` as a command line program, its user's mistakes as one line on standard error.

    Ctrl-C ends with status 130 and a full disk or a refused file with status 1, one line each; anything else is a
    defect of this project and keeps its traceback.
    """
    import typer  # here and not above: `lm` raises UserError on machines that have no typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command(main))
    guarded(app)


def command(main: Callable[..., Any]) -> Callable[..., None]:
    """`main` as a command for typer, guarded inside as well: typer would end Ctrl-C by itself, without a word."""
    return wraps(main)(lambda *args, **kwargs: guarded(lambda: main(*args, **kwargs)))


def guarded(call: Callable[[], Any]) -> None:
    """Calls `call`, turning a user's mistakes into one line and an exit status."""
    try:
        call()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough (`candor models | head`). Python writes what is left at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except UserError as error:
        _stop(f"error: {error}", 1)
    except KeyboardInterrupt:
        _stop(_GOES_ON, 128 + signal.SIGINT)
    except Interrupted as stopped:
        _stop(_GOES_ON, stopped.status)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _stop(f"error: {error.filename or 'a file'}: {error.strerror or error}", 1)


def _stop(line: str, status: int) -> None:
    print(" ".join(line.split("\n")), file=sys.stderr)
    raise SystemExit(status)
