"""`candor cache`: lists, limits and clears the stored answers of models."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stages.core.errors import UserError, command
from stages.inference.store import StoreInfo, drop, folder, list_stores

cache = typer.Typer(
    help="Lists, limits or clears the stored answers of models, which save computing the same question twice.",
    no_args_is_help=True,
)

MIB = 2**20


@cache.command()
@command
def show() -> None:
    """Prints a table of the stores and their sizes, most recently used first."""
    table = Table("model", "arithmetic", "questions", "MiB", "last used")
    stores = list_stores()
    for store in stores:
        used = datetime.fromtimestamp(store.used, UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(store.model, store.arithmetic, f"{store.questions:,}", f"{store.bytes / MIB:,.1f}", used)
    console = Console()
    console.print(table)
    console.print(f"{_total_size(stores)} in {folder()}")


@cache.command()
@command
def limit(mib: Annotated[float, typer.Argument(help="The maximum size of all stores together, in MiB.")]) -> None:
    """Deletes the least recently used stores until the rest takes at most MIB, and prints what was deleted."""
    if not mib >= 0.0:
        raise UserError(f"{mib} MiB cannot be a limit; a number of MiB, 0 or more, is expected")
    remaining = list_stores()
    unused = []
    while sum(store.bytes for store in remaining) > mib * MIB:
        unused.append(remaining.pop())
    _delete(unused)


@cache.command()
@command
def clear(
    model: Annotated[
        str | None, typer.Argument(help="A model as `candor cache show` lists it; all models if left out.")
    ] = None,
) -> None:
    """Deletes the stores of MODEL, or all stores, and prints how much was deleted."""
    stores = [store for store in list_stores() if model in (None, store.model)]
    if model is not None and not stores:
        known = ", ".join(sorted({store.model for store in list_stores()})) or "none"
        raise UserError(f"there is no store of {model!r}; there are stores of {known}")
    _delete(stores)


def _delete(stores: list[StoreInfo]) -> None:
    size = _total_size(stores)
    drop(stores)
    print(f"deleted {len(stores)} stores, {size}")


def _total_size(stores: list[StoreInfo]) -> str:
    return f"{sum(store.bytes for store in stores) / MIB:,.1f} MiB"
