"""Runs a stage as one of several processes if the environment says so (docs/environment.md)."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from stages.lm.distributed import environment, processes


def distributed_main(main: Callable[..., None]) -> Callable[..., None]:
    """`main`, joined to the processes of its run, with a heartbeat among them."""

    @wraps(main)
    def joined_main(*args: Any, **kwargs: Any) -> None:
        with processes.distributed(environment.cluster_spec()):
            main(*args, **kwargs)

    return joined_main
