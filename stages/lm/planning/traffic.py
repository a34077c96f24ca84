"""Memory traffic: the bytes that an instruction reads and writes in the chip's large memory (HBM).

Arrays in the chip's small memory cost nothing.
"""

from collections.abc import Iterator, Mapping

from stages.lm.planning.hlo import ArrayType, Computation, Instruction

# Operations without traffic of their own: they only name values in memory, or end what counts at its start.
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all",
    "optimization-barrier", "opt-barrier", "partition-id", "replica-id", "async-done", "async-update",
}  # fmt: skip
SLICES = ("dynamic-slice", "slice", "gather")


def traffic(instruction: Instruction, computation: Computation, computations: Mapping[str, Computation]) -> int:
    """Bytes of the chip's large memory that an instruction of `computation` reads and writes."""
    if instruction.operation in FREE or instruction.operation.endswith("-done"):
        return 0
    fused = computations.get(instruction.called("calls") or "") if instruction.operation == "fusion" else None
    if fused is not None:
        read = sum(_read_by_fusion(fused, index, computation[name]) for index, name in enumerate(instruction.operands))
        return read + _written_by_fusion(instruction, fused)
    if instruction.operation in SLICES:
        return 2 * _bytes_in_memory(instruction.types)
    if instruction.operation in ("dynamic-update-slice", "scatter"):
        update = computation[instruction.operands[-1 if instruction.operation == "scatter" else 1]]
        return 2 * _bytes_in_memory(update.types)
    read = _bytes_in_memory(_operand_types(instruction, computation))
    if instruction.operation.endswith("-start"):
        # Its value is a tuple of what it reads and what it writes.
        return max(read, _bytes_in_memory(instruction.types))
    return read + _bytes_in_memory(instruction.types)


def _operand_types(instruction: Instruction, computation: Computation) -> list[ArrayType]:
    return [array for name in instruction.operands for array in computation[name].types]


def _bytes_in_memory(types: tuple[ArrayType, ...] | list[ArrayType]) -> int:
    return sum(array.bytes for array in types if not array.on_chip)


def _read_by_fusion(fused: Computation, index: int, operand: Instruction) -> int:
    """Bytes that a fusion reads of an operand: only the slices if it only slices it, and none if it only updates it."""
    full = _bytes_in_memory(operand.types)
    parameter = next(
        (inner.name for inner in fused.values() if inner.operation == "parameter" and inner.operands == (str(index),)),
        None,
    )
    if full == 0 or parameter is None:
        return full
    users = list(_users(parameter, fused))
    if users and all(user.operation in SLICES and user.operands[0] == alias for alias, user in users):
        return min(full, sum(sum(array.bytes for array in user.types) for _, user in users))
    if users and all(user.operation == "dynamic-update-slice" and user.operands[0] == alias for alias, user in users):
        return 0
    return full


def _users(name: str, fused: Computation) -> Iterator[tuple[str, Instruction]]:
    """The instructions that read a value, each with the name that it uses: a bitcast is an alias."""
    for instruction in fused.values():
        if name in instruction.operands:
            if instruction.operation == "bitcast":
                yield from _users(instruction.name, fused)
            else:
                yield name, instruction


def _written_by_fusion(fusion: Instruction, fused: Computation) -> int:
    """Bytes that a fusion writes: its result, or only the updated slice if it updates an operand in place."""
    root = next(instruction for instruction in fused.values() if instruction.is_root)
    while root.operation == "bitcast":
        root = fused[root.operands[0]]
    if root.operation == "dynamic-update-slice":
        return sum(array.bytes for array in fused[root.operands[1]].types)
    return _bytes_in_memory(fusion.types)
