"""Joins the processes of a run, and exchanges values among them."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from stages.core.errors import Interrupted, ModelError
from stages.lm.distributed.environment import ClusterSpec
from stages.lm.distributed.heartbeat import JAX_HEARTBEAT_SECONDS, Heartbeat


@contextmanager
def distributed(cluster: ClusterSpec | None) -> Iterator[None]:
    """Joins the processes of a run for the block, before any other use of JAX; does nothing if `cluster` is None.

    All processes leave the block together. If one ends early or is gone, the others end within a minute with status 1
    and a line that names it.

    Raises:
        ModelError: there is no such cluster, or not all processes joined.
    """
    if cluster is None:
        yield
        return
    _join(cluster)
    heartbeat = Heartbeat(*coordinator(), jax.process_index(), jax.process_count())
    try:
        yield
    except Interrupted:  # in all processes, after the same step
        heartbeat.finish()
        raise
    except BaseException as error:
        heartbeat.fail(error)
        atexit.register(_exit_without_waiting, 130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
    heartbeat.finish()


def coordinator() -> tuple[Any, str]:
    """The client of JAX's coordinator and its address (host:port), once `jax.distributed.initialize` has run."""
    # The only private import of JAX: the heartbeat needs the coordinator's key-value store and barrier, which have no
    # public name (Orbax takes them from here too). After an update of jax, check that `global_state` still has `client`
    # and `coordinator_address`, and the client the methods that heartbeat.py calls; tests/lm/distributed does.
    from jax._src.distributed import global_state

    return global_state.client, str(global_state.coordinator_address)


def _join(cluster: ClusterSpec) -> None:
    try:
        # The empty list means all devices that this process sees; by default JAX takes one under SLURM and Open MPI.
        jax.distributed.initialize(*cluster, local_device_ids=[], heartbeat_timeout_seconds=JAX_HEARTBEAT_SECONDS)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"the processes of this run did not find each other ({error}); see CANDOR_PROCESSES in docs/environment.md"
        ) from error


def _exit_without_waiting(status: int) -> None:
    # JAX's own exit handler would wait for the other processes, which wait for this one.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def is_first() -> bool:
    """Whether this is the process that writes the outputs."""
    return jax.process_index() == 0


def index() -> int:
    """The index of this process, from 0."""
    return jax.process_index()


def all_max(value: float) -> float:
    """The largest value that any process passes; every process must call this."""
    if jax.process_count() == 1:
        return value
    return float(np.max(multihost_utils.process_allgather(np.array(value, np.float32))))


def all_min(value: float) -> float:
    """The smallest value that any process passes; every process must call this."""
    return -all_max(-value)


def broadcast_from_first(values: np.ndarray) -> np.ndarray:
    """The array of the first process; every process must call this, with an array of the same shape."""
    if jax.process_count() == 1:
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values))
