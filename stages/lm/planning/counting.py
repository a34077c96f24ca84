"""What a compiled program does on one chip, counted in its text: loops as often as they turn.

XLA's own `cost_analysis` counts a loop's body once, whatever the number of layers; here a body counts `trips` times.
Counted as arithmetic are matrix products (`dot` and `convolution`) alone: all the rest is less than a hundredth.
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
    """An exchange among `group` chips: its kind, and the bytes of the whole array on each (before it is shared out)."""

    kind: str
    group: int
    bytes: int

    @property
    def sent(self) -> float:
        """The bytes that each chip sends at the least, as in a ring."""
        if self.kind == "collective-permute":
            return float(self.bytes)
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * self.bytes * (self.group - 1) / self.group


@dataclass
class ProgramCounts:
    """Of one chip: floating-point operations, bytes of its memory read and written, exchanges, and the cycles that the
    compiler expects its own instructions to take (0 where it says none)."""

    flops: float = 0.0
    bytes: float = 0.0
    cycles: float = 0.0
    collectives: dict[Collective, int] = field(default_factory=dict)

    @property
    def sent(self) -> float:
        """Bytes that the chip sends to others."""
        return sum(times * collective.sent for collective, times in self.collectives.items())

    def add(self, other: "ProgramCounts", times: int = 1) -> None:
        """Adds what happens `times` times."""
        self.flops += times * other.flops
        self.bytes += times * other.bytes
        self.cycles += times * other.cycles
        for collective, each in other.collectives.items():
            self.collectives[collective] = self.collectives.get(collective, 0) + times * each

    def by_kind(self) -> dict[str, dict[str, float]]:
        """For each kind of exchange how often it happens, the bytes of its arrays, and the bytes that a chip sends."""
        found: dict[str, dict[str, float]] = {}
        for collective, times in self.collectives.items():
            kind = found.setdefault(collective.kind, {"times": 0, "bytes": 0, "sent": 0.0})
            kind["times"] += times
            kind["bytes"] += times * collective.bytes
            kind["sent"] += times * collective.sent
        return found


def counted(module: Module, chips: int, turns: bool = True) -> ProgramCounts:
    """What the program does on each of `chips`; with `turns` off each loop's body counts once, as XLA counts it."""
    return _Counter(module, chips, turns).of(module.entry)


class _Counter:
    def __init__(self, module: Module, chips: int, turns: bool):
        self.computations, self.chips, self.turns = module.computations, chips, turns
        self.known: dict[str, ProgramCounts] = {}

    def of(self, name: str) -> ProgramCounts:
        """What a computation does each time."""
        if name not in self.known:
            found = ProgramCounts()
            computation = self.computations[name]
            for instruction in computation.values():
                self._count(instruction, computation, found)
            self.known[name] = found
        return self.known[name]

    def _count(self, instruction: Instruction, computation: Computation, found: ProgramCounts) -> None:
        found.cycles += instruction.number("estimated_cycles") or 0
        kind = instruction.operation.removesuffix("-start")
        if kind in COLLECTIVES:
            collective = _collective(kind, instruction, computation, self.chips)
            found.collectives[collective] = found.collectives.get(collective, 0) + 1
        elif kind == "dot":
            found.flops += _dot_flops(instruction, computation)
        elif kind == "convolution":
            found.flops += _convolution_flops(instruction, computation)
        elif kind == "while":
            body, condition = instruction.called("body"), instruction.called("condition")
            assert body is not None and condition is not None
            found.add(self.of(body), self._trips(instruction, condition) if self.turns else 1)
        elif kind in ("call", "fusion", "async"):
            self._count_called(instruction, found)
        found.bytes += traffic(instruction, computation, self.computations)

    def _count_called(self, instruction: Instruction, found: ProgramCounts) -> None:
        """What a called computation does; inside a fusion nothing goes through memory, and it has the cycles."""
        name = instruction.called("calls") or instruction.called("to_apply")
        if name in self.computations:
            inner = self.of(str(name))
            is_fused = instruction.operation == "fusion"
            found.add(ProgramCounts(inner.flops, 0.0, 0.0, inner.collectives) if is_fused else inner)

    def _trips(self, loop: Instruction, condition: str) -> int:
        """How often a loop turns: as the compiler notes, or the limit that its condition compares with."""
        known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
        if known:
            return int(known.group(1))
        limits = [
            int(each.operands[0])
            for each in self.computations[condition].values()
            if each.operation == "constant" and each.operands
        ]
        assert len(limits) == 1, f"the loop {loop.name} has no fixed number of turns"
        return limits[0]


def _listed(key: str, attributes: str) -> list[int]:
    found = re.search(rf"{key}=\{{([\d,]*)\}}", attributes)
    return [int(each) for each in found.group(1).split(",") if each] if found else []


def _dot_flops(dot: Instruction, computation: Computation) -> float:
    left = computation[dot.operands[0]].types[0]
    inner = [left.sizes[axis] for axis in _listed("lhs_contracting_dims", dot.attributes)]
    return 2.0 * dot.types[0].elements * float(np.prod(inner, dtype=np.float64))


def _convolution_flops(convolution: Instruction, computation: Computation) -> float:
    """Products and sums where the window stands on a number, not on padding or in a gap of its dilation.

    On a TPU all matrix products are convolutions: an axis that both sides have is a spatial one with gaps.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", convolution.attributes)
    assert labels is not None, convolution.name
    inputs, kernel, outputs = labels.groups()
    left, right = (computation[name].types[0].sizes for name in convolution.operands[:2])
    out = convolution.types[0].sizes
    window = _window(convolution.attributes)
    flops = 2.0 * out[outputs.index("b")] * out[outputs.index("f")] * right[kernel.index("i")]
    for place, axis in enumerate(sorted(label for label in inputs if label.isdecimal())):
        sizes = (left[inputs.index(axis)], right[kernel.index(axis)], out[outputs.index(axis)])
        flops *= _meetings(*sizes, *(window.get(key, default)[place] for key, default in _WINDOW.items()))
    return flops


_MOST_SPATIAL = 8
_WINDOW: dict[str, list[Any]] = {
    "stride": [1] * _MOST_SPATIAL,
    "pad": [0] * _MOST_SPATIAL,
    "lhs_dilate": [1] * _MOST_SPATIAL,
    "rhs_dilate": [1] * _MOST_SPATIAL,
}


def _window(attributes: str) -> dict[str, list[int]]:
    found = re.search(r"window=\{([^}]*)\}", attributes)
    pairs = (each.split("=") for each in found.group(1).split()) if found else ()
    return {key: [int(each.split("_")[0]) for each in values.split("x")] for key, values in pairs}


def _meetings(size: int, window: int, out: int, stride: int, pad: int, dilate: int, spread: int) -> float:
    """How many pairs of an output's place and a window's place meet a number of the input."""
    place = np.arange(out)[:, None] * stride + np.arange(window)[None] * spread - pad
    return float(np.sum((place >= 0) & (place <= (size - 1) * dilate) & (place % dilate == 0)))


def _collective(kind: str, instruction: Instruction, computation: Computation, chips: int) -> Collective:
    inputs = sum(each.bytes for name in instruction.operands for each in computation[name].types)
    if kind == "all-gather":
        group = _group(instruction.attributes, chips)
        return Collective(kind, group, inputs * group)
    return Collective(kind, _group(instruction.attributes, chips), inputs)


def _group(attributes: str, chips: int) -> int:
    """How many chips take part in each exchange, in any of the three spellings."""
    by_axes = re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", attributes)
    if by_axes:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", by_axes.group(1)))
        return int(np.prod([int(sizes[axis]) for axis in re.findall(r"'([^']+)'", by_axes.group(2))]))
    tiled = re.search(r"replica_groups=\[([\d,]+)\]<=", attributes)
    if tiled:
        return int(tiled.group(1).split(",")[-1])
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", attributes)
    return len(listed.group(1).split(",")) if listed else chips
