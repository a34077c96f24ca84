"""Stopping on request: a signal is noted, and the work ends where its state can be kept."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Whether somebody asked for an end: a scheduler that wants the machine back (SIGTERM), or Ctrl-C."""

    requested: signal.Signals | None = None


@contextmanager
def stoppable() -> Iterator[StopFlag]:
    """Notes the first request; a second one of the same kind acts as it always does."""
    stop = StopFlag()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        stop.requested = signal.Signals(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
