"""Training examples packed into rows of equal length, so that little of a step is padding or computed twice.

Examples that begin alike become one tree (`stages.lm.trees`), which the model reads once up to where they part. Two
examples, `ab|C` and `d|EF` (targets after the bar), in a row of six; the last token of a target is only predicted:

    tokens      a  b  d  E  .  .
    positions   0  1  0  1  0  0
    ends        2  2  4  4  5  6      (a token is seen up to the end of its own tree: see `stages.lm.model`)
    predictors  1 -> C, 2 -> E, 3 -> F
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.lm.tokens import Continued
from stages.lm.trees import TokenTree, token_tree

# Steps whose rows differ by less share a compiled program.
ROWS_STEP = 2


class Packed(NamedTuple):
    """A step's arrays: R rows of T tokens, and P predictions, each by its place in the flattened rows.

    `weights_P` counts the examples that a prediction is a target token of; padding has 0.
    """

    tokens_RT: np.ndarray
    positions_RT: np.ndarray
    ends_RT: np.ndarray
    predictors_P: np.ndarray
    targets_P: np.ndarray
    weights_P: np.ndarray


@dataclass(frozen=True)
class PackedShape:
    """Sizes of a step's arrays."""

    rows: int
    length: int
    predictions: int


def packed_shapes(steps: Sequence[Sequence[Sequence[Continued]]], length: int) -> list[PackedShape]:
    """For each step a shape that holds any of its parts, in rows of `length` tokens.

    There are few distinct ones, since each is compiled.
    """
    needs = [_needs(parts, length) for parts in steps]
    predictions: dict[int, int] = {}
    for rows, wanted in needs:
        predictions[rows] = max(predictions.get(rows, 0), wanted)
    return [PackedShape(rows, length, predictions[rows]) for rows, _ in needs]


def pack(examples: Sequence[Continued], shape: PackedShape) -> Packed:
    """One step's examples in arrays of `shape`."""
    size = (shape.rows, shape.length)
    packed = Packed(
        tokens_RT=np.zeros(size, np.int32),
        positions_RT=np.zeros(size, np.int32),
        ends_RT=np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (shape.rows, 1)),
        predictors_P=np.zeros(shape.predictions, np.int32),
        targets_P=np.zeros(shape.predictions, np.int32),
        weights_P=np.zeros(shape.predictions, np.float32),
    )
    done = 0
    for row, trees in enumerate(_rows(examples, shape.length)):
        begin = 0
        for tree in trees:
            done = _place(packed, tree, row, begin, done)
            begin += len(tree.tokens)
    return packed


def _needs(parts: Sequence[Sequence[Continued]], length: int) -> tuple[int, int]:
    """The most rows, rounded up to a common step, and the most predictions of a step's parts."""
    packed = [_rows(part, length) for part in parts]
    rows = max(len(part) for part in packed)
    predictions = max(sum(len(tree.scored) for row in part for tree in row) for part in packed)
    return -(-rows // ROWS_STEP) * ROWS_STEP, predictions


def _rows(examples: Sequence[Continued], length: int) -> list[list[TokenTree]]:
    """First fit, the longest tree first; trees of equal length keep their order."""
    rows: list[list[TokenTree]] = []
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


def _trees(examples: Sequence[Continued], length: int) -> list[TokenTree]:
    """Trees of examples that share at least a third of their tokens with the one before them in sorted order."""
    groups: list[list[Continued]] = []
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


def _place(packed: Packed, tree: TokenTree, row: int, begin: int, done: int) -> int:
    """Writes `tree` at `begin` of `row`; returns how many predictions there are now."""
    end, now = begin + len(tree.tokens), done + len(tree.scored)
    packed.tokens_RT[row, begin:end] = tree.tokens
    packed.positions_RT[row, begin:end] = tree.positions
    packed.ends_RT[row, begin:end] = np.array(tree.ends) + begin
    first = row * packed.tokens_RT.shape[1] + begin
    packed.predictors_P[done:now] = [first + scored.predictor for scored in tree.scored]
    packed.targets_P[done:now] = [scored.token for scored in tree.scored]
    for path in tree.paths:
        packed.weights_P[done + np.array(path, np.int64)] += 1.0
    return now
