"""The `candor` command as tests call it."""

from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


# What the fixture `candor` is: `candor("score", path, ...)` runs the command in this process.
Candor = Callable[..., Outcome]
