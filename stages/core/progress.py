"""Reports the progress of long work: a bar on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from stages.core.shared_types import Advance

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(what: str, total: float, unit: str) -> Iterator[Advance]:
    """Yields a function to report completed units out of `total`; shows the rate and the remaining time."""
    display = _bar(what, total, unit) if sys.stderr.isatty() else _lines(what, total, unit)
    with display as advance:
        yield advance


@contextmanager
def _bar(what: str, total: float, unit: str) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    started = time.monotonic()
    done = 0.0
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, rate="", note="")

        def advance(amount: float, note: str) -> None:
            nonlocal done
            done += amount
            rate = f"{done:,.0f}/{total:,.0f} {unit}, {done / (time.monotonic() - started):,.1f}/s"
            bar.update(task, advance=amount, rate=rate, note=note)

        yield advance


@contextmanager
def _lines(what: str, total: float, unit: str) -> Iterator[Advance]:
    started = last = time.monotonic()
    done = 0.0

    def advance(amount: float, note: str) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            print(_line(done, now - started, note), file=sys.stderr, flush=True)

    def _line(done: float, seconds: float, note: str) -> str:
        rate = done / max(seconds, 1e-9)
        remaining = (total - done) / max(rate, 1e-9)
        line = f"{what}: {done:,.0f} of {total:,.0f} {unit}, {rate:,.1f}/s, {remaining:,.0f} s left"
        return f"{line}, {note}" if note else line

    yield advance
    print(f"{what}: {done:,.0f} {unit} in {time.monotonic() - started:,.0f} s", file=sys.stderr, flush=True)
