"""Training examples packed into rows of equal length, so that little of a step is padding or computed twice.

Examples that begin alike become one tree (`stages.lm.tokens.trees`), which the model reads once up to where they part.
Two examples, `ab|C` and `d|EF` (targets after the bar), in a row of six; the last token of a target is only predicted:

    tokens      a  b  d  E  .  .
    positions   0  1  0  1  0  0
    ends        2  2  4  4  5  6      (a token is seen up to the end of its own tree: see `stages.lm.nn.decoder`)
    predictors  1 -> C, 2 -> E, 3 -> F

Rows are split among devices in equal groups, one after another, and a group's predictions are of its own rows.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.trees import TokenTree, token_tree

# Lengths of rows are multiples of this; about so many at most are tried, on at most so many steps.
LENGTH_STEP, LENGTHS, STEPS_TRIED = 32, 8, 64
# Compiling a program takes as long as about so many steps with it.
STEPS_TO_COMPILE = 2
# Length at which reading what lies before a token takes about as long as the token's own products.
ATTENTION_LENGTH = 1024

Rows = list[list[TokenTree]]


class Packed(NamedTuple):
    """A step's arrays: R rows of T tokens in G groups, and P predictions of each group, by place in its flattened rows.

    `weights_GP` counts the examples that a prediction is a target token of; padding has 0.
    """

    tokens_BT: np.ndarray
    positions_BT: np.ndarray
    ends_BT: np.ndarray
    logit_positions_GC: np.ndarray
    targets_GC: np.ndarray
    weights_GC: np.ndarray


@dataclass(frozen=True)
class PackedShape:
    """Sizes of a step's arrays; `predictions` are those of one of the groups."""

    rows: int
    length: int
    targets: int
    groups: int = 1


def row_length(steps: Sequence[Sequence[Sequence[PromptCompletion]]], groups: int = 1) -> int:
    """The length of rows, between the longest example's and twice it, that the steps' parts take least time in.

    Longer rows are fuller, and attend to more; steps of as many rows share a compiled program.
    """
    longest = max(len(example.ids) - 1 for parts in steps for part in parts for example in part)
    first = -(-longest // LENGTH_STEP) * LENGTH_STEP
    between = -(-first // (LENGTH_STEP * LENGTHS)) * LENGTH_STEP
    every = -(-len(steps) // STEPS_TRIED)

    def cost(length: int) -> float:
        rows = Counter(_needs(parts, length, groups)[0] for parts in steps[::every])
        taken = sum(count * (every * times + STEPS_TO_COMPILE) for count, times in rows.items())
        return taken * length * (1 + length / ATTENTION_LENGTH)

    return min(range(first, 2 * first + 1, between), key=cost)


def packed_shapes(
    steps: Sequence[Sequence[Sequence[PromptCompletion]]], length: int, groups: int = 1
) -> list[PackedShape]:
    """For each step a shape that holds any of its parts, in rows of `length` tokens in `groups` groups.

    There are few distinct ones, since each is compiled.
    """
    needs = [_needs(parts, length, groups) for parts in steps]
    predictions: dict[int, int] = {}
    for rows, wanted in needs:
        predictions[rows] = max(predictions.get(rows, 0), wanted)
    return [PackedShape(rows, length, predictions[rows], groups) for rows, _ in needs]


def pack(examples: Sequence[PromptCompletion], shape: PackedShape) -> Packed:
    """One step's examples in arrays of `shape`."""
    size = (shape.rows, shape.length)
    packed = Packed(
        tokens_BT=np.zeros(size, np.int32),
        positions_BT=np.zeros(size, np.int32),
        ends_BT=np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (shape.rows, 1)),
        logit_positions_GC=np.zeros((shape.groups, shape.targets), np.int32),
        targets_GC=np.zeros((shape.groups, shape.targets), np.int32),
        weights_GC=np.zeros((shape.groups, shape.targets), np.float32),
    )
    for group, rows in enumerate(_grouped(_rows(examples, shape.length), shape.rows // shape.groups)):
        _fill(packed, rows, group)
    return packed


def _grouped(rows: Rows, size: int) -> list[Rows]:
    """Rows in groups of `size`, the last of what is left."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _needs(parts: Sequence[Sequence[PromptCompletion]], length: int, groups: int) -> tuple[int, int]:
    """The most rows, rounded up to a common step, and the most predictions of a group."""
    packed = [_rows(part, length) for part in parts]
    most = max(len(part) for part in packed)
    # By less than an eighth, and not at all up to 16 rows: of many rows there are few programs.
    step = math.lcm(1 << max((most - 1).bit_length() - 4, 0), groups)
    rows = -(-most // step) * step
    within = [group for part in packed for group in _grouped(part, rows // groups)]
    return rows, max(sum(len(tree.targets) for row in group for tree in row) for group in within)


def _rows(examples: Sequence[PromptCompletion], length: int) -> Rows:
    """First fit, the longest tree first; trees of equal length keep their order."""
    rows: Rows = []
    free: list[int] = []
    for tree in sorted(_trees(examples, length), key=lambda tree: -len(tree.tokens)):
        size = len(tree.tokens)
        row = next((row for row, room in enumerate(free) if room >= size), None)
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
        fed = len(example.ids) - 1
        shared = _shared(groups[-1][-1].ids[:-1], example.ids[:-1]) if groups else 0
        if groups and 3 * shared >= fed and size + fed - shared <= length:
            groups[-1].append(example)
            size += fed - shared
        else:
            groups.append([example])
            size = fed
    return [token_tree(group) for group in groups]


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens both begin with."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _fill(packed: Packed, rows: Rows, group: int) -> None:
    """Writes the trees of a group's rows, each behind the other."""
    size, length = packed.tokens_BT.shape[0] // packed.targets_GC.shape[0], packed.tokens_BT.shape[1]
    done = 0
    for row, trees in enumerate(rows):
        begin = 0
        for tree in trees:
            end, now = begin + len(tree.tokens), done + len(tree.targets)
            place = (group * size + row, slice(begin, end))
            packed.tokens_BT[place] = tree.tokens
            packed.positions_BT[place] = tree.positions
            packed.ends_BT[place] = np.array(tree.ends) + begin
            first = row * length + begin
            packed.logit_positions_GC[group, done:now] = [first + scored.position for scored in tree.targets]
            packed.targets_GC[group, done:now] = [scored.token for scored in tree.targets]
            for path in tree.paths:
                packed.weights_GC[group, done + np.array(path, np.int64)] += 1.0
            begin, done = end, now
