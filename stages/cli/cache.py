"""`candor cache`: shows, bounds and clears what models answered before."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stages.core.errors import UserError, command
from stages.inference.store import StoreInfo, drop, folder, list_stores

cache = typer.Typer(help="What models answered before, so that nothing is asked twice.", no_args_is_help=True)

MIB = 2**20


@cache.command()
@command
def show() -> None:
    """Lists the stores, the one used last first."""
    table = Table("model", "arithmetic", "questions", "MiB", "last used")
    found = list_stores()
    for one in found:
        used = datetime.fromtimestamp(one.used, UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(one.model, one.arithmetic, f"{one.questions:,}", f"{one.bytes / MIB:,.1f}", used)
    console = Console()
    console.print(table)
    console.print(f"{_bytes(found)} in {folder()}")


@cache.command()
@command
def limit(mib: Annotated[float, typer.Argument(help="How many MiB may stay.")]) -> None:
    """Deletes the stores that were used longest ago until the rest takes no more than MIB."""
    if not mib >= 0.0:
        raise UserError(f"{mib} MiB cannot be a limit; a number of MiB, 0 or more, is expected")
    left = list_stores()
    dropped = []
    while sum(one.bytes for one in left) > mib * MIB:
        dropped.append(left.pop())
    _drop(dropped)


@cache.command()
@command
def clear(
    model: Annotated[str | None, typer.Argument(help="A model as `show` lists it; all if left out.")] = None,
) -> None:
    """Deletes the stores of MODEL, or all of them."""
    found = [one for one in list_stores() if model in (None, one.model)]
    if model is not None and not found:
        known = ", ".join(sorted({one.model for one in list_stores()})) or "none"
        raise UserError(f"there is no store of {model!r}; there are those of {known}")
    _drop(found)


def _drop(stores: list[StoreInfo]) -> None:
    freed = _bytes(stores)
    drop(stores)
    print(f"deleted {len(stores)} stores, {freed}")


def _bytes(stores: list[StoreInfo]) -> str:
    return f"{sum(one.bytes for one in stores) / MIB:,.1f} MiB"
