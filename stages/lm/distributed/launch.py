"""A stage that may be one of several processes, as the environment says (docs/environment.md)."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from stages.lm.distributed import environment, processes


def distributed_main(main: Callable[..., None]) -> Callable[..., None]:
    """`main` within the processes of its run, whose signs of life it gives and watches."""

    @wraps(main)
    def joined(*args: Any, **kwargs: Any) -> None:
        with processes.distributed(environment.cluster_spec()):
            main(*args, **kwargs)

    return joined
