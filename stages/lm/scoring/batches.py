"""Trees of questions as arrays: of few shapes, filled up to a common size.

A question always meets the same shape, whatever its company: what it begins with and shares with others is read once
(`prefix`), and its length behind that decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.lm.nn.attention import PREFIX_BLOCK
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP
from stages.lm.tokens.trees import TokenTree


class Budget(NamedTuple):
    """Fed tokens per batch and group of devices: of questions by themselves, and of those behind a prefix."""

    alone: int
    behind: int


# By platform: batches of a shape are always this large, so that it is part of the result's identity and no knob. On a
# CPU nothing is gained by more (bench/scoring). Those that share a prefix are few, and fill few batches; from some 500
# tokens on a chip takes longer for its products than to fetch the weights of a large model.
CPU, ACCELERATOR = Budget(768, 256), Budget(16_384, 512)
# Of all groups of accelerators together at most, but so many of each: the last batch of a shape is filled up, and
# 100,000 prompts, asked twice, are some 16 million tokens of 20 shapes.
TOGETHER, LEAST = Budget(262_144, 8_192), Budget(1_024, 32)
# All questions behind prefixes of up to so many tokens share their programs, then of up to twice as many, and so on.
PREFIX_LEAST = 1_024


class Shape(NamedTuple):
    """A compiled program's sizes: places of the prefix, fed tokens, predicting positions and scored tokens."""

    prefix: int
    length: int
    predictors: int
    scored: int

    def rows(self, budget: Budget) -> int:
        """Questions in a batch, for each group of devices."""
        return max(1, (budget.behind if self.prefix else budget.alone) // self.length)


@dataclass(frozen=True)
class Batch:
    """Arrays of one batch of equal shape, which trees its first rows are, and the tokens that all of them begin with.

    The arrays are of what stands behind those; only positions count them.
    """

    trees: tuple[int, ...]
    prefix: tuple[int, ...]
    tokens_BT: np.ndarray
    positions_BT: np.ndarray
    ends_BT: np.ndarray
    predictors_BQ: np.ndarray
    scored_BC: np.ndarray
    row_BC: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a device is given, in the order of `stages.lm.scoring.forward.token_logprobs`."""
        return self.tokens_BT, self.positions_BT, self.ends_BT, self.predictors_BQ, self.row_BC, self.scored_BC


def budget_of(mesh: Mesh) -> Budget:
    """The batches' sizes on the mesh."""
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return CPU if is_cpu else accelerator_budget(mesh.shape[FSDP])


def accelerator_budget(groups: int) -> Budget:
    """The batches' sizes on so many groups of accelerators."""
    sizes = zip(ACCELERATOR, TOGETHER, LEAST, strict=True)
    return Budget(*(max(least, min(most, together // groups)) for most, together, least in sizes))


def batches(trees: Sequence[TokenTree], groups: int, budget: Budget) -> Iterator[Batch]:
    """Batches of equal shape, each of about the budget for each group of devices.

    The longest come first: what would run out of memory does so at once.
    """
    alike: dict[tuple[Shape, tuple[int, ...]], list[int]] = {}
    for index, tree in enumerate(trees):
        alike.setdefault((shape_of(tree), tree.tokens[: tree.shared]), []).append(index)
    # By prefix within a length of prefixes, so that each is read once.
    ordered = sorted(alike.items(), key=lambda item: (item[0][0].prefix, item[0][1], item[0][0]), reverse=True)
    for (shape, prefix), indices in ordered:
        size = shape.rows(budget) * groups
        for start in range(0, len(indices), size):
            taken = tuple(indices[start : start + size])
            yield _batch(shape, size, prefix, taken, [trees[index] for index in taken])


def shape_of(tree: TokenTree) -> Shape:
    """The shape that a tree is run in."""
    length = len(tree.tokens) - tree.shared
    # A sixteenth to an eighth of the length, from 64 on: filling up costs one token in twenty, for few programs. Those
    # that share a prefix are few, and with more shapes they would fill fewer batches.
    step = 1 << max((length - 1).bit_length() - 4, 4 if tree.shared else 3)
    predictors = len({scored.predictor for scored in tree.scored})
    prefix = prefix_places(tree.shared) if tree.shared else 0
    return Shape(prefix, _rounded(length, step), _rounded(predictors, 4), _rounded(len(tree.scored), 8))


def prefix_places(tokens: int) -> int:
    """Places that keys and values of a prefix are kept in."""
    return max(PREFIX_LEAST, 1 << (tokens - 1).bit_length())


def prefix_arrays(prefix: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, positions and ends [1, P] of a prefix, filled up with padding that sees itself alone."""
    places = _rounded(len(prefix), PREFIX_BLOCK)
    tokens, positions = np.zeros((2, 1, places), np.int32)
    ends = np.arange(1, places + 1, dtype=np.int32)[None].copy()
    tokens[0, : len(prefix)] = prefix
    positions[0, : len(prefix)] = np.arange(len(prefix))
    ends[0, : len(prefix)] = places
    return tokens, positions, ends


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def _batch(
    shape: Shape, size: int, prefix: tuple[int, ...], indices: tuple[int, ...], trees: Sequence[TokenTree]
) -> Batch:
    length = shape.length
    batch = Batch(
        indices,
        prefix,
        tokens_BT=np.zeros((size, length), np.int32),
        positions_BT=np.zeros((size, length), np.int32),
        # Padding sees itself alone.
        ends_BT=np.tile(np.arange(1, length + 1, dtype=np.int32), (size, 1)),
        predictors_BQ=np.zeros((size, shape.predictors), np.int32),
        scored_BC=np.zeros((size, shape.scored), np.int32),
        row_BC=np.zeros((size, shape.scored), np.int32),
    )
    for row, tree in enumerate(trees):
        _fill(batch, row, tree)
    return batch


def _fill(batch: Batch, row: int, tree: TokenTree) -> None:
    """Writes a tree into its row, without the tokens that the prefix holds."""
    shared, length = tree.shared, len(tree.tokens) - tree.shared
    batch.tokens_BT[row, :length] = tree.tokens[shared:]
    batch.positions_BT[row, :length] = tree.positions[shared:]
    batch.ends_BT[row, :length] = np.array(tree.ends[shared:]) - shared
    predictors = sorted({scored.predictor for scored in tree.scored})
    batch.predictors_BQ[row, : len(predictors)] = np.array(predictors) - shared
    batch.scored_BC[row, : len(tree.scored)] = [scored.token for scored in tree.scored]
    batch.row_BC[row, : len(tree.scored)] = [predictors.index(scored.predictor) for scored in tree.scored]
