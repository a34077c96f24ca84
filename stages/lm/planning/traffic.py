"""What an instruction reads and writes in the chip's large memory; what stays on the chip costs nothing here."""

from collections.abc import Iterator, Mapping

from stages.lm.planning.hlo import ArrayType, Computation, Instruction

# Neither reads nor writes: names for what lies there, and the ends of what has been counted where it started.
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all",
    "optimization-barrier", "opt-barrier", "partition-id", "replica-id", "async-done", "async-update",
}  # fmt: skip
SLICES = ("dynamic-slice", "slice", "gather")


def traffic(instruction: Instruction, computation: Computation, computations: Mapping[str, Computation]) -> int:
    """Bytes of the chip's large memory that an instruction of `computation` reads and writes."""
    if instruction.operation in FREE or instruction.operation.endswith("-done"):
        return 0
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


def _types(names: tuple[str, ...], computation: Computation) -> list[ArrayType]:
    return [each for name in names for each in computation[name].types]


def _in_memory(types: tuple[ArrayType, ...] | list[ArrayType]) -> int:
    return sum(each.bytes for each in types if not each.on_chip)


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
