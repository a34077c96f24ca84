"""Environment variables for devices and processes (docs/environment.md): they change speed, never a result."""

import os
from typing import NamedTuple

from stages.core.errors import UserError


class ClusterSpec(NamedTuple):
    """How a process finds the others of its run; JAX detects from the cluster what is None."""

    coordinator: str | None = None
    process_count: int | None = None
    process_index: int | None = None


def cluster_spec() -> ClusterSpec | None:
    """The values of CANDOR_PROCESSES, CANDOR_PROCESS and CANDOR_COORDINATOR; None if the run is one process.

    Raises:
        UserError: a variable has no valid value.
    """
    value = os.environ.get("CANDOR_PROCESSES") or "1"
    if value == "auto":
        return ClusterSpec()
    count = _integer("CANDOR_PROCESSES", value, "auto, or a number of processes, 1 or more,", 1)
    if count == 1:
        return None
    coordinator = os.environ.get("CANDOR_COORDINATOR") or ""
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdecimal()):
        raise UserError(
            f"CANDOR_COORDINATOR is {coordinator!r}; with several processes the first one's host:port is expected"
        )
    allowed = f"a number from 0 to {count - 1}, another one for each process,"
    index = _integer("CANDOR_PROCESS", os.environ.get("CANDOR_PROCESS") or "", allowed, 0, count - 1)
    return ClusterSpec(coordinator, count, index)


def tensor_parallel() -> int:
    """How many devices share each matrix product of a fine-tuning (`CANDOR_TENSOR_PARALLEL`).

    Raises:
        UserError: it is no positive number.
    """
    if "CANDOR_TENSOR" in os.environ:
        raise UserError("CANDOR_TENSOR is now called CANDOR_TENSOR_PARALLEL; rename it")
    value = os.environ.get("CANDOR_TENSOR_PARALLEL") or "1"
    return _integer("CANDOR_TENSOR_PARALLEL", value, "a number of devices, 1 or more,", 1)


def _integer(variable: str, value: str, allowed: str, minimum: int, maximum: int | None = None) -> int:
    if value.isdecimal() and int(value) >= minimum and (maximum is None or int(value) <= maximum):
        return int(value)
    raise UserError(f"{variable} is {value!r}; {allowed} is expected")
