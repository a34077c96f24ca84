"""Sequence packing: training examples in rows of equal length, so that little of a step is padding or computed twice.

Examples with a common prefix become one tree (`stages.lm.tokens.trees`), whose shared tokens the model computes once.
Two examples, `ab|C` and `d|EF` (targets after the bar), in a row of six; the last token of a target is only predicted:

    tokens           a  b  d  E  .  .
    positions        0  1  0  1  0  0
    ends             2  2  4  4  5  6      (a token is visible up to the end of its own tree: `stages.lm.nn.decoder`)
    logit positions  1 -> C, 2 -> E, 3 -> F

Axes: B rows of T tokens, in G equal groups of consecutive rows, one for each group of devices. A group has C target
tokens, all of them in its own rows, and their logit positions index its X = B/G * T flattened positions.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.trees import TokenTree, token_tree

# Row lengths are multiples of LENGTH_STEP. The best of about LENGTHS candidates is searched, on at most STEPS_TRIED
# steps.
LENGTH_STEP, LENGTHS, STEPS_TRIED = 32, 8, 64
# Compiling a program takes about as long as this many steps.
STEPS_TO_COMPILE = 2
# The row length at which attention takes about as long as all other matrix products.
ATTENTION_LENGTH = 1024

Rows = list[list[TokenTree]]


class Packed(NamedTuple):
    """A micro-batch's arrays, with the axes above.

    `weights_GC` is the number of examples that have the target token in common; padding has 0.
    """

    tokens_BT: np.ndarray
    positions_BT: np.ndarray
    ends_BT: np.ndarray
    logit_positions_GC: np.ndarray
    targets_GC: np.ndarray
    weights_GC: np.ndarray


@dataclass(frozen=True)
class PackedShape:
    """Sizes of a micro-batch's arrays; `targets` is the number of target tokens of one group."""

    rows: int
    length: int
    targets: int
    groups: int = 1


def row_length(steps: Sequence[Sequence[Sequence[PromptCompletion]]], groups: int = 1) -> int:
    """The row length, from that of the longest example to twice that, with the lowest estimated time for all steps.

    Longer rows have less padding but more attention. Steps with the same number of rows share a compiled program.
    """
    longest = max(len(example.ids) - 1 for parts in steps for part in parts for example in part)
    shortest_row = -(-longest // LENGTH_STEP) * LENGTH_STEP
    increment = -(-shortest_row // (LENGTH_STEP * LENGTHS)) * LENGTH_STEP
    stride = -(-len(steps) // STEPS_TRIED)

    def cost(length: int) -> float:
        steps_by_rows = Counter(_needed_sizes(parts, length, groups)[0] for parts in steps[::stride])
        total_rows = sum(rows * (stride * count + STEPS_TO_COMPILE) for rows, count in steps_by_rows.items())
        return total_rows * length * (1 + length / ATTENTION_LENGTH)

    return min(range(shortest_row, 2 * shortest_row + 1, increment), key=cost)


def packed_shapes(
    steps: Sequence[Sequence[Sequence[PromptCompletion]]], length: int, groups: int = 1
) -> list[PackedShape]:
    """For each step a shape that fits each of its micro-batches, in rows of `length` tokens in `groups` groups.

    Steps with the same number of rows have the same shape, since each distinct shape is compiled.
    """
    sizes = [_needed_sizes(parts, length, groups) for parts in steps]
    most_targets: dict[int, int] = {}
    for rows, targets in sizes:
        most_targets[rows] = max(most_targets.get(rows, 0), targets)
    return [PackedShape(rows, length, most_targets[rows], groups) for rows, _ in sizes]


def pack(examples: Sequence[PromptCompletion], shape: PackedShape) -> Packed:
    """The examples of one micro-batch in arrays of `shape`."""
    size = (shape.rows, shape.length)
    packed = Packed(
        tokens_BT=np.zeros(size, np.int32),
        positions_BT=np.zeros(size, np.int32),
        # Padding attends only to itself and is masked for all others.
        ends_BT=np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (shape.rows, 1)),
        logit_positions_GC=np.zeros((shape.groups, shape.targets), np.int32),
        targets_GC=np.zeros((shape.groups, shape.targets), np.int32),
        weights_GC=np.zeros((shape.groups, shape.targets), np.float32),
    )
    for group, rows in enumerate(_grouped(_rows(examples, shape.length), shape.rows // shape.groups)):
        _fill_group(packed, rows, group)
    return packed


def _grouped(rows: Rows, size: int) -> list[Rows]:
    """Rows in groups of `size`; the last group has the remaining ones."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _needed_sizes(parts: Sequence[Sequence[PromptCompletion]], length: int, groups: int) -> tuple[int, int]:
    """The rows that each of a step's parts fits into, and the most target tokens of a group."""
    packed = [_rows(part, length) for part in parts]
    most = max(len(part) for part in packed)
    # Rounded up by less than an eighth, and not at all up to 16 rows, so that few programs are compiled.
    step = math.lcm(1 << max((most - 1).bit_length() - 4, 0), groups)
    rows = -(-most // step) * step
    all_groups = [group for part in packed for group in _grouped(part, rows // groups)]
    return rows, max(sum(len(tree.targets) for row in group for tree in row) for group in all_groups)


def _rows(examples: Sequence[PromptCompletion], length: int) -> Rows:
    """First-fit decreasing: the longest tree first, into the first row with room; equal lengths keep their order."""
    rows: Rows = []
    free: list[int] = []
    for tree in sorted(_trees(examples, length), key=lambda tree: -len(tree.tokens)):
        size = len(tree.tokens)
        row = next((row for row, available in enumerate(free) if available >= size), None)
        if row is None:
            row = len(rows)
            rows.append([])
            free.append(length)
        rows[row].append(tree)
        free[row] -= size
    return rows


def _trees(examples: Sequence[PromptCompletion], length: int) -> list[TokenTree]:
    """Trees of examples that share at least a third of their tokens with the one before them in sorted order."""
    groups: list[list[PromptCompletion]] = []
    size = 0
    for example in sorted(examples, key=lambda example: example.ids):
        inputs = len(example.ids) - 1
        shared = _common_prefix_len(groups[-1][-1].ids[:-1], example.ids[:-1]) if groups else 0
        if groups and 3 * shared >= inputs and size + inputs - shared <= length:
            groups[-1].append(example)
            size += inputs - shared
        else:
            groups.append([example])
            size = inputs
    return [token_tree(group) for group in groups]


def _common_prefix_len(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _fill_group(packed: Packed, rows: Rows, group: int) -> None:
    """Writes the trees of a group into its rows, one after another."""
    size, length = packed.tokens_BT.shape[0] // packed.targets_GC.shape[0], packed.tokens_BT.shape[1]
    target_begin = 0
    for row, trees in enumerate(rows):
        begin = 0
        for tree in trees:
            end, target_end = begin + len(tree.tokens), target_begin + len(tree.targets)
            where = (group * size + row, slice(begin, end))
            packed.tokens_BT[where] = tree.tokens
            packed.positions_BT[where] = tree.positions
            packed.ends_BT[where] = np.array(tree.ends) + begin
            offset = row * length + begin
            targets = (group, slice(target_begin, target_end))
            packed.logit_positions_GC[targets] = [offset + target.position for target in tree.targets]
            packed.targets_GC[targets] = [target.token for target in tree.targets]
            for path in tree.paths:
                packed.weights_GC[group, target_begin + np.array(path, np.int64)] += 1.0
            begin, target_begin = end, target_end
