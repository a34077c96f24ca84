"""Stopping on request: a signal sets a flag, and the training loop ends where it can save its state."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """The signal that requested the end, if any: SIGTERM from a scheduler that preempts the run, or Ctrl-C."""

    requested: signal.Signals | None = None


@contextmanager
def stoppable() -> Iterator[StopFlag]:
    """Sets the flag at the first signal; a second one of the same kind has its usual effect."""
    stop = StopFlag()
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def set_flag(number: int, frame: FrameType | None) -> None:
        stop.requested = signal.Signals(number)
        signal.signal(number, previous[signal.Signals(number)])

    for number in SIGNALS:
        signal.signal(number, set_flag)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
