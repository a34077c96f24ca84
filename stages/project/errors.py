"""How a mistake reaches its user: one line, exit status 1, no traceback."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any


class UserError(Exception):
    """Something its user can mend: the message says what, where, what is allowed and what to do."""


def run(main: Callable[..., Any]) -> None:
    """Runs `main` as a command line program, its user's mistakes as one line on standard error.

    Ctrl-C ends with status 130 and a full disk or a refused file with status 1, one line each; anything else is a
    defect of this project and keeps its traceback.
    """
    import typer  # here and not above: `lm` raises UserError on machines that have no typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    # Guarded inside as well: typer would end Ctrl-C by itself, without a word.
    app.command()(wraps(main)(lambda *args, **kwargs: guarded(lambda: main(*args, **kwargs))))
    guarded(app)


def guarded(call: Callable[[], Any]) -> None:
    """Calls `call`, turning a user's mistakes into one line and an exit status."""
    try:
        call()
    except UserError as error:
        _stop(f"error: {error}", 1)
    except KeyboardInterrupt:
        _stop("stopped: nothing half-written was left; the same command goes on from here", 130)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _stop(f"error: {error.filename or 'a file'}: {error.strerror or error}", 1)


def _stop(line: str, status: int) -> None:
    print(" ".join(line.split("\n")), file=sys.stderr)
    raise SystemExit(status)
