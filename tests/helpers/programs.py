"""What tests need to start programs: the checkout's folder, an environment, and a free port."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from tests.helpers import compilations

CHECKOUT = Path(__file__).parents[2]

# Variables of the user that say which devices and processes a run has.
OF_DEVICES = ("XLA_", "JAX_", "CANDOR_")


def cleared(foreign: Iterable[str] = OF_DEVICES) -> dict[str, str]:
    """The environment without the variables that begin with one of `foreign`; the shared compilations stay."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(tuple(foreign))}
    return kept | {name: os.environ[name] for name in compilations.VARIABLES if name in os.environ}


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])
