"""Trees of questions as arrays: of few shapes, filled up to a common size.

A question always meets the same shape, whatever its company: what it begins with and shares with others is read once
(`prefix`), and its length behind that decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.lm.shapes import Mesh
from stages.lm.sharding import FSDP
from stages.lm.trees import TokenTree

# Fed tokens per batch and group of devices, by platform: batches of a shape are always this large, so that it is part
# of the result's identity and no knob. On a CPU nothing is gained by more (bench/scoring).
CPU_TOKENS, ACCELERATOR_TOKENS = 768, 16_384
# Of all groups of accelerators together at most, but so many of each: the last batch of a shape is filled up, and
# 100,000 prompts, asked twice, are some 16 million tokens of 20 shapes.
TOGETHER, LEAST = 262_144, 1_024
# Prefixes of lengths that differ by less share a compiled program.
PREFIX_STEP = 256


class Shape(NamedTuple):
    """A compiled program's sizes: places of the prefix, fed tokens, predicting positions and scored tokens."""

    prefix: int
    length: int
    predictors: int
    scored: int

    def rows(self, tokens: int) -> int:
        """Questions in a batch of about `tokens` fed tokens."""
        return max(1, tokens // self.length)


@dataclass(frozen=True)
class Batch:
    """Arrays of one batch of equal shape, which trees its first rows are, and the tokens that all of them begin with.

    S places are those of the prefix, filled up, and T more.
    """

    trees: tuple[int, ...]
    prefix: tuple[int, ...]
    tokens_BT: np.ndarray
    positions_BS: np.ndarray
    ends_BS: np.ndarray
    predictors_BQ: np.ndarray
    scored_BC: np.ndarray
    row_BC: np.ndarray


def batch_tokens(mesh: Mesh) -> int:
    """Fed tokens per batch and group of devices of the mesh."""
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return CPU_TOKENS if is_cpu else accelerator_tokens(mesh.shape[FSDP])


def accelerator_tokens(groups: int) -> int:
    """Fed tokens per batch and group, of so many groups of accelerators."""
    return max(LEAST, min(ACCELERATOR_TOKENS, TOGETHER // groups))


def batches(trees: Sequence[TokenTree], groups: int, tokens: int) -> Iterator[Batch]:
    """Batches of equal shape, of about `tokens` for each group of devices.

    The longest come first: what would run out of memory does so at once.
    """
    alike: dict[tuple[Shape, tuple[int, ...]], list[int]] = {}
    for index, tree in enumerate(trees):
        alike.setdefault((shape_of(tree), tree.tokens[: tree.shared]), []).append(index)
    # By prefix within a length of prefixes, so that each is read once.
    ordered = sorted(alike.items(), key=lambda item: (item[0][0].prefix, item[0][1], item[0][0]), reverse=True)
    for (shape, prefix), indices in ordered:
        size = shape.rows(tokens) * groups
        for start in range(0, len(indices), size):
            taken = tuple(indices[start : start + size])
            yield _batch(shape, size, prefix, taken, [trees[index] for index in taken])


def shape_of(tree: TokenTree) -> Shape:
    """The shape that a tree is run in."""
    length = len(tree.tokens) - tree.shared
    # A sixteenth to an eighth of the length, from 64 on: filling up costs one token in twenty, for few programs.
    step = 1 << max((length - 1).bit_length() - 4, 3)
    predictors = len({scored.predictor for scored in tree.scored})
    prefix = _rounded(tree.shared, PREFIX_STEP)
    return Shape(prefix, _rounded(length, step), _rounded(predictors, 4), _rounded(len(tree.scored), 8))


def prefix_arrays(prefix: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, positions and ends [1, P] of a prefix, filled up with padding that sees itself alone."""
    places = _rounded(len(prefix), PREFIX_STEP)
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
    places = shape.prefix + shape.length
    batch = Batch(
        indices,
        prefix,
        tokens_BT=np.zeros((size, shape.length), np.int32),
        positions_BS=np.zeros((size, places), np.int32),
        # Padding sees itself alone.
        ends_BS=np.tile(np.arange(1, places + 1, dtype=np.int32), (size, 1)),
        predictors_BQ=np.zeros((size, shape.predictors), np.int32),
        scored_BC=np.zeros((size, shape.scored), np.int32),
        row_BC=np.zeros((size, shape.scored), np.int32),
    )
    batch.positions_BS[:, : len(prefix)] = np.arange(len(prefix))
    batch.ends_BS[:, : len(prefix)] = places
    for row, tree in enumerate(trees):
        _fill(batch, row, tree, shape.prefix)
    return batch


def _fill(batch: Batch, row: int, tree: TokenTree, begin: int) -> None:
    """Writes a tree into its row: behind `begin` places of a prefix, without the tokens that the prefix holds."""
    shared, length = tree.shared, len(tree.tokens) - tree.shared
    own = slice(begin, begin + length)
    batch.tokens_BT[row, :length] = tree.tokens[shared:]
    batch.positions_BS[row, own] = tree.positions[shared:]
    batch.ends_BS[row, own] = np.array(tree.ends[shared:]) + begin - shared
    predictors = sorted({scored.predictor for scored in tree.scored})
    batch.predictors_BQ[row, : len(predictors)] = np.array(predictors) - shared
    batch.scored_BC[row, : len(tree.scored)] = [scored.token for scored in tree.scored]
    batch.row_BC[row, : len(tree.scored)] = [predictors.index(scored.predictor) for scored in tree.scored]
