"""Several processes as one run: joining them, and what they have to agree on."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax._src import distributed as jax_distributed
from jax.experimental import multihost_utils

from stages.core.errors import Interrupted, ModelError
from stages.lm.distributed.heartbeat import JAX_HEARTBEAT_SECONDS, Heartbeat

Asked = tuple[str | None, int | None, int | None]


@contextmanager
def distributed(asked: Asked | None) -> Iterator[None]:
    """Joins the processes of a run for the block, before anything else is asked of JAX; nothing where it is one.

    `asked` are the first one's address, their number and which of them this is; what is None is found out from the
    cluster. All leave the block together. Where one ends early or is gone, the others end within a minute with a line
    that names it and status 1.

    Raises:
        ModelError: there is no such cluster, or not all processes came.
    """
    if asked is None:
        yield
        return
    _join(asked)
    # What Orbax, too, knows the coordinator by; it has no public name in JAX.
    known = jax_distributed.global_state
    watch = Heartbeat(known.client, str(known.coordinator_address), jax.process_index(), jax.process_count())
    try:
        yield
    except Interrupted:  # all of them, after the same step
        watch.finish()
        raise
    except BaseException as error:
        watch.fail(error)
        atexit.register(_leave_alone, 130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
    watch.finish()


def _join(asked: Asked) -> None:
    try:
        # An empty list is all devices that this process sees. JAX would else take one, under SLURM and Open MPI.
        jax.distributed.initialize(*asked, local_device_ids=[], heartbeat_timeout_seconds=JAX_HEARTBEAT_SECONDS)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"the processes of this run did not find each other ({error}); see CANDOR_PROCESSES in docs/environment.md"
        ) from error


def _leave_alone(status: int) -> None:
    # JAX would wait here for the others, which wait for this one.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def is_first() -> bool:
    """Whether this is the process that writes what only one may write."""
    return jax.process_index() == 0


def index() -> int:
    """Which of the processes this is, from 0."""
    return jax.process_index()


def all_max(value: float) -> float:
    """The largest value that any process has; all of them have to ask."""
    if jax.process_count() == 1:
        return value
    return float(np.max(multihost_utils.process_allgather(np.array(value, np.float32))))


def all_min(value: float) -> float:
    """The smallest value that any process has; all of them have to ask."""
    return -all_max(-value)


def broadcast_from_first(values: np.ndarray) -> np.ndarray:
    """What the first process has; all of them have to ask, each with an array of the same shape."""
    if jax.process_count() == 1:
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values))
