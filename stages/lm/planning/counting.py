"""Counts the operations, memory traffic and collectives of a compiled program on one chip, from its HLO text.

XLA's own `cost_analysis` counts a loop's body once, regardless of the number of layers; here it counts once for each
iteration. Only matrix products (`dot` and `convolution`) count as operations: all others are less than one percent.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.lm.planning.hlo import Computation, Instruction, Module
from stages.lm.planning.traffic import traffic

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True)
class Collective:
    """A collective among `group` chips: its kind, and the bytes of the full array that it gathers or reduces."""

    kind: str
    group: int
    bytes: int

    @property
    def sent(self) -> float:
        """The bytes that each chip sends at least, which is what a ring algorithm sends."""
        if self.kind == "collective-permute":
            return float(self.bytes)
        passes = 2 if self.kind == "all-reduce" else 1
        return passes * self.bytes * (self.group - 1) / self.group


@dataclass
class ProgramCounts:
    """Totals of a program on one chip.

    `flops` are floating-point operations, `bytes` are read from and written to its memory, `cycles` are the compiler's
    estimate for all instructions (0: it gives none), and `collectives` are counted by kind and size.
    """

    flops: float = 0.0
    bytes: float = 0.0
    cycles: float = 0.0
    collectives: dict[Collective, int] = field(default_factory=dict)

    @property
    def sent(self) -> float:
        """Bytes that the chip sends to others."""
        return sum(times * collective.sent for collective, times in self.collectives.items())

    def add(self, other: "ProgramCounts", times: int = 1) -> None:
        """Adds the counts of `times` executions of another program."""
        self.flops += times * other.flops
        self.bytes += times * other.bytes
        self.cycles += times * other.cycles
        for collective, count in other.collectives.items():
            self.collectives[collective] = self.collectives.get(collective, 0) + times * count

    def by_kind(self) -> dict[str, dict[str, float]]:
        """For each kind of collective how often it happens, the bytes of its arrays, and the bytes a chip sends."""
        totals: dict[str, dict[str, float]] = {}
        for collective, times in self.collectives.items():
            kind = totals.setdefault(collective.kind, {"times": 0, "bytes": 0, "sent": 0.0})
            kind["times"] += times
            kind["bytes"] += times * collective.bytes
            kind["sent"] += times * collective.sent
        return totals


def count_program(module: Module, chips: int, unroll_loops: bool = True) -> ProgramCounts:
    """The counts of a program on each of `chips`; without `unroll_loops` a loop's body counts once, as in XLA."""
    return _Counter(module, chips, unroll_loops).count_computation(module.entry)


class _Counter:
    def __init__(self, module: Module, chips: int, unroll_loops: bool):
        self.computations, self.chips, self.unroll_loops = module.computations, chips, unroll_loops
        self.cache: dict[str, ProgramCounts] = {}

    def count_computation(self, name: str) -> ProgramCounts:
        """The counts of one execution of a computation."""
        if name not in self.cache:
            counts = ProgramCounts()
            computation = self.computations[name]
            for instruction in computation.values():
                self._add_instruction(instruction, computation, counts)
            self.cache[name] = counts
        return self.cache[name]

    def _add_instruction(self, instruction: Instruction, computation: Computation, counts: ProgramCounts) -> None:
        counts.cycles += instruction.number("estimated_cycles") or 0
        kind = instruction.operation.removesuffix("-start")
        if kind in COLLECTIVES:
            collective = _collective(kind, instruction, computation, self.chips)
            counts.collectives[collective] = counts.collectives.get(collective, 0) + 1
        elif kind == "dot":
            counts.flops += _dot_flops(instruction, computation)
        elif kind == "convolution":
            counts.flops += _convolution_flops(instruction, computation)
        elif kind == "while":
            body, condition = instruction.called("body"), instruction.called("condition")
            assert body is not None and condition is not None
            iterations = self._iterations(instruction, condition) if self.unroll_loops else 1
            counts.add(self.count_computation(body), iterations)
        elif kind in ("call", "fusion", "async"):
            self._add_called(instruction, counts)
        counts.bytes += traffic(instruction, computation, self.computations)

    def _add_called(self, instruction: Instruction, counts: ProgramCounts) -> None:
        """Adds a called computation; inside a fusion no value goes through memory, and the fusion itself has cycles."""
        name = instruction.called("calls") or instruction.called("to_apply")
        if name in self.computations:
            inner = self.count_computation(str(name))
            is_fused = instruction.operation == "fusion"
            counts.add(ProgramCounts(inner.flops, 0.0, 0.0, inner.collectives) if is_fused else inner)

    def _iterations(self, loop: Instruction, condition: str) -> int:
        """A loop's trip count: the compiler's annotation, or else the limit that its condition compares with."""
        annotation = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
        if annotation:
            return int(annotation.group(1))
        limits = [
            int(instruction.operands[0])
            for instruction in self.computations[condition].values()
            if instruction.operation == "constant" and instruction.operands
        ]
        assert len(limits) == 1, f"the loop {loop.name} has no fixed trip count"
        return limits[0]


def _axes(key: str, attributes: str) -> list[int]:
    match = re.search(rf"{key}=\{{([\d,]*)\}}", attributes)
    return [int(axis) for axis in match.group(1).split(",") if axis] if match else []


def _dot_flops(dot: Instruction, computation: Computation) -> float:
    left = computation[dot.operands[0]].types[0]
    contracted = [left.sizes[axis] for axis in _axes("lhs_contracting_dims", dot.attributes)]
    return 2.0 * dot.types[0].elements * float(np.prod(contracted, dtype=np.float64))


def _convolution_flops(convolution: Instruction, computation: Computation) -> float:
    """Operations of a convolution, without those on padding or in the gaps of a dilation.

    On a TPU all matrix products are convolutions: a batch axis of both operands becomes a dilated spatial axis.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", convolution.attributes)
    assert labels is not None, convolution.name
    inputs, kernel, outputs = labels.groups()
    left, right = (computation[name].types[0].sizes for name in convolution.operands[:2])
    out = convolution.types[0].sizes
    window = _window(convolution.attributes)
    flops = 2.0 * out[outputs.index("b")] * out[outputs.index("f")] * right[kernel.index("i")]
    for index, axis in enumerate(sorted(label for label in inputs if label.isdecimal())):
        sizes = (left[inputs.index(axis)], right[kernel.index(axis)], out[outputs.index(axis)])
        flops *= _valid_pairs(*sizes, *(window.get(key, default)[index] for key, default in _WINDOW_DEFAULTS.items()))
    return flops


_MAX_SPATIAL_AXES = 8
_WINDOW_DEFAULTS: dict[str, list[Any]] = {
    "stride": [1] * _MAX_SPATIAL_AXES,
    "pad": [0] * _MAX_SPATIAL_AXES,
    "lhs_dilate": [1] * _MAX_SPATIAL_AXES,
    "rhs_dilate": [1] * _MAX_SPATIAL_AXES,
}


def _window(attributes: str) -> dict[str, list[int]]:
    """The settings of a convolution's window, each as a list over the spatial axes."""
    match = re.search(r"window=\{([^}]*)\}", attributes)
    pairs = (setting.split("=") for setting in match.group(1).split()) if match else ()
    return {key: [int(value.split("_")[0]) for value in values.split("x")] for key, values in pairs}


def _valid_pairs(size: int, window: int, out: int, stride: int, pad: int, lhs_dilate: int, rhs_dilate: int) -> float:
    """Pairs of an output position and a window position, along one axis, that read an element of the input."""
    position = np.arange(out)[:, None] * stride + np.arange(window)[None] * rhs_dilate - pad
    is_inside = (position >= 0) & (position <= (size - 1) * lhs_dilate)
    return float(np.sum(is_inside & (position % lhs_dilate == 0)))


def _collective(kind: str, instruction: Instruction, computation: Computation, chips: int) -> Collective:
    input_bytes = sum(array.bytes for name in instruction.operands for array in computation[name].types)
    group = _group_size(instruction.attributes, chips)
    return Collective(kind, group, input_bytes * group if kind == "all-gather" else input_bytes)


def _group_size(attributes: str, chips: int) -> int:
    """How many chips take part in each collective; HLO has three notations for it."""
    by_axes = re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", attributes)
    if by_axes:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", by_axes.group(1)))
        return int(np.prod([int(sizes[axis]) for axis in re.findall(r"'([^']+)'", by_axes.group(2))]))
    tiled = re.search(r"replica_groups=\[([\d,]+)\]<=", attributes)
    if tiled:
        return int(tiled.group(1).split(",")[-1])
    explicit = re.search(r"replica_groups=\{\{([\d,]+)\}", attributes)
    return len(explicit.group(1).split(",")) if explicit else chips
