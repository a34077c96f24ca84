"""Error types, and how a user's mistake is reported: one line, exit status 1, no traceback."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

_STOPPED = "stopped: no half-written files are left; run the same command again to continue"


class UserError(Exception):
    """A mistake that the user can fix: the message says what, where, what is allowed and what to do."""


class ModelError(UserError):
    """A model, tokenizer or checkpoint that cannot be used."""


class QuestionError(UserError):
    """A question or training example that cannot be used; `named` adds its row, which the raising code may not know."""


class Interrupted(Exception):
    """A signal requested a stop, and the state from which to resume was saved."""

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
    """Runs `main` as a command line program that reports a user's mistakes as one line on standard error.

    Ctrl-C exits with status 130, and a full disk or a permission error with status 1, with one line each. Any other
    exception is a defect of this project and keeps its traceback.
    """
    import typer  # imported here, because `lm` raises UserError on machines without typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command(main))
    guarded(app)


def command(main: Callable[..., Any]) -> Callable[..., None]:
    """`main` as a typer command, guarded inside too: typer itself would exit on Ctrl-C without a message."""
    return wraps(main)(lambda *args, **kwargs: guarded(lambda: main(*args, **kwargs)))


def guarded(call: Callable[[], Any]) -> None:
    """Calls `call` and turns a user's mistakes into one line and an exit status."""
    try:
        call()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed it (`candor models | head`); without this, Python fails again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except UserError as error:
        _exit_with(f"error: {error}", 1)
    except KeyboardInterrupt:
        _exit_with(_STOPPED, 128 + signal.SIGINT)
    except Interrupted as stopped:
        _exit_with(_STOPPED, stopped.status)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _exit_with(f"error: {error.filename or 'a file'}: {error.strerror or error}", 1)


def _exit_with(line: str, status: int) -> None:
    print(" ".join(line.split("\n")), file=sys.stderr)
    raise SystemExit(status)
