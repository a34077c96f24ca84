"""Several processes as one run: joining them, and what they have to agree on."""

import jax
import numpy as np
from jax.experimental import multihost_utils

from stages.lm.errors import ModelError


def join(asked: tuple[str | None, int | None, int | None] | None) -> None:
    """Joins the processes of a run, before anything else is asked of JAX; nothing where it is one, or joined already.

    `asked` are the first one's address, their number and which of them this is; what is None is found out from the
    cluster.

    Raises:
        ModelError: there is no such cluster, or not all processes came.
    """
    if asked is None or jax.distributed.is_initialized():
        return
    try:
        jax.distributed.initialize(*asked)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"the processes of this run did not find each other ({error}); see CANDOR_PROCESSES in docs/environment.md"
        ) from error


def is_first() -> bool:
    """Whether this is the process that writes what only one may write."""
    return jax.process_index() == 0


def index() -> int:
    """Which of the processes this is, from 0."""
    return jax.process_index()


def largest(value: float) -> float:
    """The largest value that any process has; all of them have to ask."""
    if jax.process_count() == 1:
        return value
    return float(np.max(multihost_utils.process_allgather(np.array(value, np.float32))))


def smallest(value: float) -> float:
    """The smallest value that any process has; all of them have to ask."""
    return -largest(-value)


def said_by_first(values: np.ndarray) -> np.ndarray:
    """What the first process has; all of them have to ask, each with an array of the same shape."""
    if jax.process_count() == 1:
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values))
