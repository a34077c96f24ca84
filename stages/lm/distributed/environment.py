"""What the environment says of devices and processes (docs/environment.md): it changes speed, and never a result."""

import os
from typing import NamedTuple

from stages.core.errors import UserError


class ClusterSpec(NamedTuple):
    """How a process finds the others of its run; what is None is found out from the cluster."""

    coordinator: str | None = None
    total: int | None = None
    number: int | None = None


def cluster_spec() -> ClusterSpec | None:
    """What `CANDOR_PROCESSES`, `CANDOR_PROCESS` and `CANDOR_COORDINATOR` say; None where a run is one process."""
    said = os.environ.get("CANDOR_PROCESSES") or "1"
    if said == "auto":
        return ClusterSpec()
    count = _whole_number("CANDOR_PROCESSES", said, "auto, or a number of processes, 1 or more,", 1)
    if count == 1:
        return None
    coordinator = os.environ.get("CANDOR_COORDINATOR") or ""
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdecimal()):
        raise UserError(
            f"CANDOR_COORDINATOR is {coordinator!r}; with several processes the first one's host:port is expected"
        )
    place = f"a number from 0 to {count - 1}, another one for each process,"
    index = _whole_number("CANDOR_PROCESS", os.environ.get("CANDOR_PROCESS") or "", place, 0, count - 1)
    return ClusterSpec(coordinator, count, index)


def tensor_parallel() -> int:
    """How many devices share each matrix product of a fine-tuning (`CANDOR_TENSOR_PARALLEL`)."""
    if "CANDOR_TENSOR" in os.environ:
        raise UserError("CANDOR_TENSOR is now called CANDOR_TENSOR_PARALLEL; rename it")
    said = os.environ.get("CANDOR_TENSOR_PARALLEL") or "1"
    return _whole_number("CANDOR_TENSOR_PARALLEL", said, "a number of devices, 1 or more,", 1)


def _whole_number(variable: str, said: str, allowed: str, least: int, most: int | None = None) -> int:
    if said.isdecimal() and int(said) >= least and (most is None or int(said) <= most):
        return int(said)
    raise UserError(f"{variable} is {said!r}; {allowed} is expected")
