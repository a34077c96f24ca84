"""Interrupts one stage at a chosen point, as a person or a machine would at that moment.

Python imports this module at its start where its folder is in PYTHONPATH. INTERRUPT holds four words: the stage's
module, an audit event of Python, a part of what the event is about (a path, a module), and the signal. SIGKILL goes to
the process alone; SIGINT to its group, as Ctrl-C on a terminal does.
"""

import os
import signal
import sys


def _watch(event: str, about: str, number: signal.Signals) -> None:
    done = False

    def hook(happening: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if happening == event and not done and about in str(arguments[0]):
            done = True
            os.kill(0 if number is signal.SIGINT else os.getpid(), number)

    sys.addaudithook(hook)


if os.environ.get("INTERRUPT"):
    stage, event, about, name = os.environ["INTERRUPT"].split(" ")
    # DVC and its shell inherit the variable, and only the stage itself is meant.
    if stage in sys.orig_argv:
        _watch(event, about, signal.Signals[name])
