"""Accelerators: their published specifications, and abstract devices of a topology to compile for.

For TPUs the program is compiled by libtpu, which needs no TPU. For GPUs it is compiled for the same number of simulated
CPU devices: the partitioning and the collectives are the same, the speed is estimated.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from stages.core.errors import ModelError
from stages.core.shared_types import GIB

GB, TB, TERA, MEGA = 1e9, 1e12, 1e12, 1e6


@dataclass(frozen=True)
class Chip:
    """One accelerator, by its maker's published figures.

    `flops` is dense bfloat16 operations per second; `memory` is in bytes, and `bandwidth` is that of this memory.
    `links` is the bandwidth to other chips of its `neighbourhood` (a number of chips; None: all), and `network` to
    those beyond it. All bandwidths are in bytes per second. `clock` is in cycles per second, to convert the cycles that
    a TPU's compiler estimates.
    """

    name: str
    flops: float
    memory: int
    bandwidth: float
    links: float
    source: str
    clock: float | None = None
    neighbourhood: int | None = None
    network: float = 0.0

    def sending(self, chips: int) -> float:
        """Bytes per second that each of `chips` can send to the others: the bandwidth of the slowest connection."""
        return self.links if self.neighbourhood is None or chips <= self.neighbourhood else self.network


_TPU = "cloud.google.com/tpu/docs/{}"
# A TPU's links: the sum over all links of a chip, one way. Clocks: v4's is in Jouppi et al. 2023 (arXiv 2304.01433).
# The others are not published; they are derived from the peak and the number of matrix units, which gives the right
# clock for v4 (v5e 4 and v5p 8 units of 128 x 128, v6e the products per cycle of 4 units of 256 x 256).
CHIPS = {
    "v4": Chip("TPU v4", 275 * TERA, 32 * GIB, 1_200 * GB, 300 * GB, _TPU.format("v4"), 1_050 * MEGA),
    "v5e": Chip("TPU v5e", 197 * TERA, 16 * GIB, 819 * GB, 200 * GB, _TPU.format("v5e"), 1_500 * MEGA),
    "v5p": Chip("TPU v5p", 459 * TERA, 95 * GIB, 2_765 * GB, 600 * GB, _TPU.format("v5p"), 1_750 * MEGA),
    "v6e": Chip("TPU v6e", 918 * TERA, 32 * GIB, 1_638 * GB, 400 * GB, _TPU.format("v6e"), 1_750 * MEGA),
    # NVLink, one way, within a node of eight; beyond it the node's network adapters (DGX), shared among the eight.
    "a100": Chip(
        "A100 80GB SXM", 312 * TERA, int(80 * GB), 2_039 * GB, 300 * GB, "nvidia.com, A100 and DGX A100 datasheets",
        neighbourhood=8, network=25 * GB,
    ),
    "h100": Chip(
        "H100 80GB SXM", 989 * TERA, int(80 * GB), 3_350 * GB, 450 * GB, "nvidia.com, H100 and DGX H100 datasheets",
        neighbourhood=8, network=50 * GB,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Topology:
    """A number of equal chips; for a TPU `layout` is also their arrangement, such as 4x4x4."""

    chip: Chip
    kind: str
    layout: str

    @property
    def chips(self) -> int:
        """The number of chips."""
        return int(np.prod([int(size) for size in self.layout.split("x")]))

    @property
    def is_tpu(self) -> bool:
        """Whether these are TPUs, so that libtpu compiles for them."""
        return self.chip.clock is not None

    def __str__(self) -> str:
        return f"{self.kind}:{self.layout}"


def parse_topology(text: str) -> Topology:
    """The topology that a string such as `v4:4x4x4` or `h100:8` names.

    Raises:
        ModelError: the chip is unknown, or the layout is not one of this chip.
    """
    kind, _, layout = text.partition(":")
    if kind not in CHIPS:
        raise ModelError(f"--topology {text!r}: the chip {kind!r} is not known; known are {', '.join(CHIPS)}")
    topology = Topology(CHIPS[kind], kind, layout)
    axes = {"v4": 3, "v5p": 3, "v5e": 2, "v6e": 2}.get(kind, 1)
    if not re.fullmatch("x".join(["[1-9][0-9]*"] * axes), layout):
        example = {3: "4x4x4", 2: "4x4", 1: "8"}[axes]
        raise ModelError(f"--topology {text!r}: {kind} is followed by its chips, as in {kind}:{example}")
    return topology


def devices_of(topology: Topology) -> list[Any]:
    """Devices to compile for; nothing can run on them. Call it before any other use of JAX.

    Raises:
        ModelError: libtpu is not installed, or does not know such a topology.
    """
    # The few values that are computed while planning are computed on the CPU.
    jax.config.update("jax_platforms", "cpu")
    return _tpu_devices(topology) if topology.is_tpu else _simulated_devices(topology.chips)


# libtpu searches for TPUs on this host and in the cloud's metadata. Compiling needs neither, and several processes may
# compile at a time.
_LIBTPU_WITHOUT_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v4-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def _tpu_devices(topology: Topology) -> list[Any]:
    from importlib.util import find_spec

    if find_spec("libtpu") is None:
        raise ModelError(
            f"{topology}: compiling for TPUs takes libtpu (no TPU), which is not installed; "
            "`make setup EXTRAS=tpu` brings it"
        )
    for variable, value in _LIBTPU_WITHOUT_TPU.items():
        os.environ.setdefault(variable, value)
    from jax.experimental import topologies

    # A v4 or v5p chip has two cores, which a program uses as one device.
    options: dict[str, Any] = {"chip_config_name": "megacore"} if topology.kind == "v4" else {}
    if topology.chips == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        return list(topologies.get_topology_desc(str(topology), "tpu", **options).devices)
    except jax.errors.JaxRuntimeError as error:
        raise ModelError(f"--topology {topology}: libtpu has no such topology ({str(error).splitlines()[0]})") from None


def _simulated_devices(count: int) -> list[Any]:
    with suppress(RuntimeError):  # JAX has started already, perhaps with enough devices
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise ModelError(f"{count} simulated devices are needed, but JAX has started with {len(devices)}")
    return devices[:count]
