"""Training examples packed into rows of equal length, so that little of a step is padding.

Two examples, `ab|C` and `d|E` (targets after the bar), in a row of eight:

    tokens      a  b  C  d  E  .  .  .
    positions   0  1  2  0  1  0  0  0
    ends        3  3  3  5  5  6  7  8      (a token is seen up to its own example's end: see `stages.lm.model`)
    predictors  1 -> C, 3 -> E
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Example:
    """Token ids of a training example; `ids[start:]` is the target."""

    ids: tuple[int, ...]
    start: int


class Packed(NamedTuple):
    """A step's arrays: R rows of T tokens, and P predictions, each by its place in the flattened rows.

    `weights_P` is 1 for a prediction of a target token and 0 for padding.
    """

    tokens_RT: np.ndarray
    positions_RT: np.ndarray
    ends_RT: np.ndarray
    predictors_P: np.ndarray
    targets_P: np.ndarray
    weights_P: np.ndarray


@dataclass(frozen=True)
class PackedShape:
    """Sizes that every step of a run shares, so that the step compiles once."""

    rows: int
    length: int
    predictions: int


def packed_shape(steps: Sequence[Sequence[Example]], length: int) -> PackedShape:
    """The smallest shape that holds each step's examples in rows of `length` tokens."""
    rows = max(len(_rows(examples, length)) for examples in steps)
    predictions = max(sum(len(example.ids) - example.start for example in examples) for examples in steps)
    return PackedShape(rows, length, predictions)


def pack(examples: Sequence[Example], shape: PackedShape) -> Packed:
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
    for row, members in enumerate(_rows(examples, shape.length)):
        begin = 0
        for example in members:
            done = _place(packed, example, row, begin, done)
            begin += len(example.ids)
    return packed


def _rows(examples: Sequence[Example], length: int) -> list[list[Example]]:
    """First fit, the longest first; examples of equal length keep their order."""
    rows: list[list[Example]] = []
    free: list[int] = []
    for example in sorted(examples, key=lambda example: -len(example.ids)):
        size = len(example.ids)
        row = next((row for row, room in enumerate(free) if room >= size), None)
        if row is None:
            row = len(rows)
            rows.append([])
            free.append(length)
        rows[row].append(example)
        free[row] -= size
    return rows


def _place(packed: Packed, example: Example, row: int, begin: int, done: int) -> int:
    """Writes `example` at `begin` of `row`; returns how many predictions there are now."""
    end = begin + len(example.ids)
    packed.tokens_RT[row, begin:end] = example.ids
    packed.positions_RT[row, begin:end] = np.arange(len(example.ids))
    packed.ends_RT[row, begin:end] = end
    targets = example.ids[example.start :]
    first = row * packed.tokens_RT.shape[1] + begin + example.start - 1
    packed.predictors_P[done : done + len(targets)] = np.arange(first, first + len(targets))
    packed.targets_P[done : done + len(targets)] = targets
    packed.weights_P[done : done + len(targets)] = 1.0
    return done + len(targets)
