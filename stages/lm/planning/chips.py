"""Accelerators: what their makers publish of each, and devices of a topology that is not here.

A TPU is compiled for by its own compiler, which libtpu brings along and which needs no TPU. For GPUs the program is
compiled for as many simulated CPU devices: what is split and what is exchanged is the same, its speed is reckoned.
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

    `flops` are bfloat16 products and sums a second, without sparsity; `memory` is in bytes; `bandwidth` is that
    memory's, `links` is what it can send to others of its `neighbourhood` (chips; None: to all), and `network` to those
    beyond it, all in bytes a second. `clock` is in cycles a second, for what a TPU's compiler says in cycles.
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
        """Bytes a second that each of `chips` can send to the others: by its slowest way."""
        return self.links if self.neighbourhood is None or chips <= self.neighbourhood else self.network


_TPU = "cloud.google.com/tpu/docs/{}"
# A TPU's links: all of a chip's together, one way. Clocks: v4's is in Jouppi et al. 2023 (arXiv 2304.01433); of the
# others none is published, and they follow from the peak and a core's matrix units, as v4's does (v5e 4 and v5p 8 of
# 128 x 128, v6e as many products a cycle as 4 of 256 x 256).
CHIPS = {
    "v4": Chip("TPU v4", 275 * TERA, 32 * GIB, 1_200 * GB, 300 * GB, _TPU.format("v4"), 1_050 * MEGA),
    "v5e": Chip("TPU v5e", 197 * TERA, 16 * GIB, 819 * GB, 200 * GB, _TPU.format("v5e"), 1_500 * MEGA),
    "v5p": Chip("TPU v5p", 459 * TERA, 95 * GIB, 2_765 * GB, 600 * GB, _TPU.format("v5p"), 1_750 * MEGA),
    "v6e": Chip("TPU v6e", 918 * TERA, 32 * GIB, 1_638 * GB, 400 * GB, _TPU.format("v6e"), 1_750 * MEGA),
    # NVLink one way within a node of eight, and the node's network adapters (DGX) shared among them beyond.
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
    """A number of equal chips; a TPU's also by how they are put together, as in 4x4x4."""

    chip: Chip
    kind: str
    layout: str

    @property
    def chips(self) -> int:
        """How many there are."""
        return int(np.prod([int(size) for size in self.layout.split("x")]))

    @property
    def is_tpu(self) -> bool:
        """Whether a TPU's compiler compiles for it."""
        return self.chip.clock is not None

    def __str__(self) -> str:
        return f"{self.kind}:{self.layout}"


def parse_topology(text: str) -> Topology:
    """What `v4:4x4x4` or `h100:8` names.

    Raises:
        ModelError: the chip is unknown, or the layout is none.
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
    """Devices to compile for; none of them can compute. To be asked before anything else is asked of JAX.

    Raises:
        ModelError: libtpu is not installed, or does not know such a topology.
    """
    # What little is computed on the way is computed on the CPU.
    jax.config.update("jax_platforms", "cpu")
    return _tpu_devices(topology) if topology.is_tpu else _simulated(topology.chips)


# libtpu looks for the TPUs of its host, and asks the cloud for it; what it finds does not matter to compiling, nor
# how many processes do so at a time.
_NO_TPU_HERE = {
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
    for variable, value in _NO_TPU_HERE.items():
        os.environ.setdefault(variable, value)
    from jax.experimental import topologies

    # A v4 or v5p chip has two cores, which a program uses as one device.
    options: dict[str, Any] = {"chip_config_name": "megacore"} if topology.kind == "v4" else {}
    if topology.chips == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        return list(topologies.get_topology_desc(str(topology), "tpu", **options).devices)
    except jax.errors.JaxRuntimeError as error:
        raise ModelError(f"--topology {topology}: libtpu knows no such one ({str(error).splitlines()[0]})") from None


def _simulated(count: int) -> list[Any]:
    with suppress(RuntimeError):  # where JAX has started, what is there may do
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise ModelError(f"{count} devices have to be simulated, but JAX has started with {len(devices)}")
    return devices[:count]
