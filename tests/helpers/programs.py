"""Programs of their own that tests start: where they run, and in which environment."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

# What the environment says of devices and of processes.
OF_DEVICES = ("XLA_", "JAX_", "CANDOR_")
# Where all processes of a test run find the programs that one of them has compiled; conftest.py sets these.
SHARED = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


def cleared(foreign: Iterable[str] = OF_DEVICES) -> dict[str, str]:
    """The environment without variables that begin with one of `foreign`, but with the shared compilations."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(tuple(foreign))}
    return kept | {name: os.environ[name] for name in SHARED if name in os.environ}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])
