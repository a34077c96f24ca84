"""Parses the HLO text of a compiled program, after optimisation and partitioning, into computations of instructions.

It keeps only what `stages.lm.planning.counting` needs: each instruction's type, operation, operands, and the rest of
its line.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8,
    "u64": 8, "f64": 8,
}  # fmt: skip

_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
# Memory space S(0), or none, is the chip's large memory (HBM); the others are on the chip itself.
_ON_CHIP = re.compile(r"S\([1-9]\d*\)")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPERATION = re.compile(r" ([a-z][\w\-]*)\(")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True)
class ArrayType:
    """An array's element type and sizes, and whether it is in the chip's small memory (VMEM on a TPU)."""

    element: str
    sizes: tuple[int, ...]
    on_chip: bool

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.sizes)

    @property
    def bytes(self) -> int:
        """Its size in bytes, without the padding of tiled layouts."""
        return BYTES.get(self.element, 0) * self.elements


@dataclass(frozen=True)
class Instruction:
    """One line of a computation; `types` has several arrays if its value is a tuple."""

    name: str
    types: tuple[ArrayType, ...]
    operation: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    def called(self, attribute: str) -> str | None:
        """The computation that an attribute such as `body` names."""
        match = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
        return match.group(1) if match else None

    def number(self, key: str) -> int | None:
        """The integer value of a key in the backend's configuration."""
        match = re.search(rf'"{key}":(?:\{{"n":)?"(\d+)"', self.attributes)
        return int(match.group(1)) if match else None


Computation = dict[str, Instruction]


@dataclass(frozen=True)
class Module:
    """A program: its computations by name, and the name of its entry computation."""

    computations: Mapping[str, Computation]
    entry: str


def parse_hlo(text: str) -> Module:
    """The program in the text that `compiled.as_text()` gives."""
    computations: dict[str, Computation] = {}
    entry, current = "", ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = header.group(2)
            computations[current] = {}
            entry = current if header.group(1) else entry
        elif current and (match := _INSTRUCTION.match(line)):
            instruction = _instruction(match.group(2), match.group(3), bool(match.group(1)))
            computations[current][instruction.name] = instruction
    return Module(computations, entry)


def _instruction(name: str, line: str, is_root: bool) -> Instruction:
    operation = _OPERATION.search(line, _after_bracket(line, 1) if line.startswith("(") else 0)
    assert operation is not None, line
    begin = operation.end()
    end = _after_bracket(line, begin)
    return Instruction(
        name,
        tuple(_arrays(line[: operation.start()])),
        operation.group(1),
        tuple(_NAME.findall(line[begin:end])) or _literal(line[begin : end - 1]),
        line[end:],
        is_root,
    )


def _literal(text: str) -> tuple[str, ...]:
    """The value of an integer constant, which is where other instructions have their operands."""
    return (text,) if text.isdecimal() else ()


def _after_bracket(line: str, begin: int) -> int:
    """The index after the bracket that closes the one before `begin`."""
    depth = 1
    for index in range(begin, len(line)):
        depth += {"(": 1, ")": -1}.get(line[index], 0)
        if depth == 0:
            return index + 1
    raise AssertionError(line)


def _arrays(text: str) -> Iterator[ArrayType]:
    for element, sizes, layout in _ARRAY.findall(text):
        yield ArrayType(element, tuple(map(int, filter(None, sizes.split(",")))), bool(_ON_CHIP.search(layout)))
