"""What a compiled program does on one chip, counted in its text: loops as often as they turn.

XLA's own `cost_analysis` counts a loop's body once, whatever the number of layers; here a body counts `trips` times.
Counted as arithmetic are matrix products (`dot` and `convolution`) alone: all the rest is less than a hundredth.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.lm.planning.hlo import ArrayType, Computation, Instruction, Module

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# Neither reads nor writes: names for what lies there, and the ends of what has been counted where it started.
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all",
    "optimization-barrier", "opt-barrier", "partition-id", "replica-id", "async-done", "async-update",
}  # fmt: skip
SLICES = ("dynamic-slice", "slice", "gather")


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
class Counts:
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

    def add(self, other: "Counts", times: int = 1) -> None:
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


def counted(module: Module, chips: int, turns: bool = True) -> Counts:
    """What the program does on each of `chips`; with `turns` off each loop's body counts once, as XLA counts it."""
    return _Counter(module, chips, turns).of(module.entry)


class _Counter:
    def __init__(self, module: Module, chips: int, turns: bool):
        self.computations, self.chips, self.turns = module.computations, chips, turns
        self.known: dict[str, Counts] = {}

    def of(self, name: str) -> Counts:
        """What a computation does each time."""
        if name not in self.known:
            found = Counts()
            computation = self.computations[name]
            for instruction in computation.values():
                self._count(instruction, computation, found)
            self.known[name] = found
        return self.known[name]

    def _count(self, instruction: Instruction, computation: Computation, found: Counts) -> None:
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
        if kind not in FREE and not kind.endswith("-done"):
            found.bytes += _bytes(instruction, computation, self.computations)

    def _count_called(self, instruction: Instruction, found: Counts) -> None:
        """What a called computation does; inside a fusion nothing goes through memory, and it has the cycles."""
        name = instruction.called("calls") or instruction.called("to_apply")
        if name in self.computations:
            inner = self.of(str(name))
            is_fused = instruction.operation == "fusion"
            found.add(Counts(inner.flops, 0.0, 0.0, inner.collectives) if is_fused else inner)

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


def _types(names: tuple[str, ...], computation: Computation) -> list[ArrayType]:
    return [each for name in names for each in computation[name].types]


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
    inputs = sum(each.bytes for each in _types(instruction.operands, computation))
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


def _in_memory(types: tuple[ArrayType, ...] | list[ArrayType]) -> int:
    return sum(each.bytes for each in types if not each.on_chip)


def _bytes(instruction: Instruction, computation: Computation, computations: Any) -> int:
    """Bytes of the chip's large memory that an instruction reads and writes."""
    inside = computations.get(instruction.called("calls") or "") if instruction.operation == "fusion" else None
    if inside is not None:
        read = sum(_read_by_fusion(inside, place, computation[name]) for place, name in enumerate(instruction.operands))
        return read + _written_by_fusion(instruction, inside)
    if instruction.operation in SLICES:
        return 2 * _in_memory(instruction.types)
    if instruction.operation in ("dynamic-update-slice", "scatter"):
        return 2 * _in_memory(computation[instruction.operands[-1 if instruction.operation == "scatter" else 1]].types)
    read = _in_memory(_types(instruction.operands, computation))
    if instruction.operation.endswith("-start"):
        # Its value is a tuple of what it reads and what it writes.
        return max(read, _in_memory(instruction.types))
    return read + _in_memory(instruction.types)


def _read_by_fusion(inside: Computation, place: int, operand: Instruction) -> int:
    """Of an operand that a fusion only takes slices of, the slices; of one that it writes into, nothing."""
    whole = _in_memory(operand.types)
    parameter = next(
        (each.name for each in inside.values() if each.operation == "parameter" and each.operands == (str(place),)),
        None,
    )
    if whole == 0 or parameter is None:
        return whole
    users = list(_users(parameter, inside))
    if users and all(each.operation in SLICES and each.operands[0] == alias for alias, each in users):
        return min(whole, sum(sum(array.bytes for array in each.types) for _, each in users))
    if users and all(each.operation == "dynamic-update-slice" and each.operands[0] == alias for alias, each in users):
        return 0
    return whole


def _users(name: str, inside: Computation) -> Iterator[tuple[str, Instruction]]:
    """Who reads a value, with the name that it is read under: a bitcast is another name for it."""
    for each in inside.values():
        if name in each.operands:
            if each.operation == "bitcast":
                yield from _users(each.name, inside)
            else:
                yield name, each


def _written_by_fusion(fusion: Instruction, inside: Computation) -> int:
    root = next(each for each in inside.values() if each.is_root)
    while root.operation == "bitcast":
        root = inside[root.operands[0]]
    if root.operation == "dynamic-update-slice":
        return sum(array.bytes for array in inside[root.operands[1]].types)
    return _in_memory(fusion.types)
