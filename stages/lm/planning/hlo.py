"""A compiled program's text (HLO, after optimisation and partitioning) as computations of instructions.

Only what counting needs is kept: each instruction's type, operation, operands and the rest of its line.
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
# S(0) or none is the chip's large memory; other spaces are those on the chip itself.
_ON_CHIP = re.compile(r"S\([1-9]\d*\)")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPERATION = re.compile(r" ([a-z][\w\-]*)\(")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True)
class ArrayType:
    """An array's element type and sizes, and whether it lies in the chip's own small memory."""

    element: str
    sizes: tuple[int, ...]
    on_chip: bool

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.sizes)

    @property
    def bytes(self) -> int:
        """How many bytes it takes, tiling apart."""
        return BYTES.get(self.element, 0) * self.elements


@dataclass(frozen=True)
class Instruction:
    """One line of a computation; `types` has several arrays where its value is a tuple."""

    name: str
    types: tuple[ArrayType, ...]
    operation: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    def called(self, attribute: str) -> str | None:
        """The computation that an attribute such as `body` names."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
        return found.group(1) if found else None

    def number(self, key: str) -> int | None:
        """The whole number that stands behind a key of the backend's configuration."""
        found = re.search(rf'"{key}":(?:\{{"n":)?"(\d+)"', self.attributes)
        return int(found.group(1)) if found else None


Computation = dict[str, Instruction]


@dataclass(frozen=True)
class Module:
    """A program: its computations by name, and which of them it begins with."""

    computations: Mapping[str, Computation]
    entry: str


def parsed(text: str) -> Module:
    """The program that `compiled.as_text()` shows."""
    computations: dict[str, Computation] = {}
    entry, inside = "", ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            inside = header.group(2)
            computations[inside] = {}
            entry = inside if header.group(1) else entry
        elif inside and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(found.group(2), found.group(3), bool(found.group(1)))
            computations[inside][instruction.name] = instruction
    return Module(computations, entry)


def _instruction(name: str, line: str, is_root: bool) -> Instruction:
    operation = _OPERATION.search(line, _closing(line, 1) if line.startswith("(") else 0)
    assert operation is not None, line
    begin = operation.end()
    end = _closing(line, begin)
    return Instruction(
        name,
        tuple(_arrays(line[: operation.start()])),
        operation.group(1),
        tuple(_NAME.findall(line[begin:end])) or _literal(line[begin : end - 1]),
        line[end:],
        is_root,
    )


def _literal(inside: str) -> tuple[str, ...]:
    """A constant's value stands where others have operands."""
    return (inside,) if inside.isdecimal() else ()


def _closing(line: str, begin: int) -> int:
    """The place behind the bracket that closes the one before `begin`."""
    depth = 1
    for place in range(begin, len(line)):
        depth += {"(": 1, ")": -1}.get(line[place], 0)
        if depth == 0:
            return place + 1
    raise AssertionError(line)


def _arrays(text: str) -> Iterator[ArrayType]:
    for element, sizes, layout in _ARRAY.findall(text):
        yield ArrayType(element, tuple(map(int, filter(None, sizes.split(",")))), bool(_ON_CHIP.search(layout)))
