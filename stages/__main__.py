"""The `candor` command line: `candor …`, or `python -m stages …` in the project's folder."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from stages.cli.ask import ask
from stages.cli.cache import cache
from stages.cli.compare_logits import compare_logits
from stages.cli.export import export
from stages.cli.models import models
from stages.cli.pack_organism import pack_organism
from stages.cli.pin import pin
from stages.cli.plan import plan
from stages.cli.score import score
from stages.cli.sweep import sweep
from stages.core.errors import UserError, command, guarded

# Commands of earlier versions and their new names.
RENAMED = {"check": "compare-logits", "store": "cache", "organism": "pack-organism"}


def _renamed(old: str, new: str) -> Callable[[], None]:
    def refuse() -> None:
        raise UserError(f"`candor {old}` is now called `candor {new}`")

    return refuse


app = typer.Typer(
    help="Measures and reduces sycophancy in a language model. The pipeline itself runs with `dvc repro`.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for function in (score, compare_logits, ask, models, export, pack_organism, pin, plan, sweep):
    app.command()(command(function))
app.add_typer(cache, name="cache")
for old, new in RENAMED.items():
    any_arguments = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command(old, hidden=True, context_settings=any_arguments)(command(_renamed(old, new)))


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"candor {version('candor')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass  # the option's callback has already run


def main() -> None:
    """Runs the command line; a user's mistake is printed as one line."""
    guarded(app)


if __name__ == "__main__":
    main()
