"""Trees of questions as arrays: of few shapes, filled up to a common size.

A question always meets the same shape, whatever its company: what it begins with and shares with others is read once
(`prefix`), and its length behind that decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stages.lm.nn.attention import PREFIX_BLOCK
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP
from stages.lm.tokens.trees import TokenTree


class TokenBudget(NamedTuple):
    """Fed tokens per batch and group of devices: of questions by themselves, and of those behind a prefix."""

    plain: int
    with_prefix: int


# By platform: batches of a shape are always this large, so that it is part of the result's identity and no knob. On a
# CPU nothing is gained by more (bench/scoring). Those that share a prefix are few, and fill few batches; from some 500
# tokens on a chip takes longer for its products than to fetch the weights of a large model.
CPU_BUDGET, ACCELERATOR_BUDGET = TokenBudget(768, 256), TokenBudget(16_384, 512)
# Of all groups of accelerators together at most, but so many of each: the last batch of a shape is filled up, and
# 100,000 prompts, asked twice, are some 16 million tokens of 20 shapes.
MAX_GLOBAL_TOKENS, MIN_TOKENS_PER_GROUP = TokenBudget(262_144, 8_192), TokenBudget(1_024, 32)
# All questions behind prefixes of up to so many tokens share their programs, then of up to twice as many, and so on.
MIN_PREFIX_CAPACITY = 1_024


class BatchShape(NamedTuple):
    """A compiled program's sizes: places of the prefix, fed tokens, predicting positions and scored tokens."""

    prefix: int
    length: int
    logit_positions: int
    targets: int

    def rows(self, budget: TokenBudget) -> int:
        """Questions in a batch, for each group of devices."""
        return max(1, (budget.with_prefix if self.prefix else budget.plain) // self.length)


class BatchArrays(NamedTuple):
    """The arrays of a batch: B rows of T tokens, Q positions that predict targets, and C target tokens a row.

    They are of what follows the prefix; only positions count the prefix's tokens. `logit_index_BC` says which of the Q
    positions predicts a target.
    """

    tokens_BT: Any
    positions_BT: Any
    ends_BT: Any
    logit_positions_BQ: Any
    logit_index_BC: Any
    targets_BC: Any


@dataclass(frozen=True)
class Batch:
    """Trees of equal shape: which they are, in the order of the first rows, their common prefix, and their arrays."""

    trees: tuple[int, ...]
    prefix: tuple[int, ...]
    arrays: BatchArrays


def token_budget(mesh: Mesh) -> TokenBudget:
    """The batches' sizes on the mesh."""
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return CPU_BUDGET if is_cpu else accelerator_budget(mesh.shape[FSDP])


def accelerator_budget(groups: int) -> TokenBudget:
    """The batches' sizes on so many groups of accelerators."""
    sizes = zip(ACCELERATOR_BUDGET, MAX_GLOBAL_TOKENS, MIN_TOKENS_PER_GROUP, strict=True)
    return TokenBudget(*(max(least, min(most, together // groups)) for most, together, least in sizes))


def batches(trees: Sequence[TokenTree], groups: int, budget: TokenBudget) -> Iterator[Batch]:
    """Batches of equal shape, each of about the budget for each group of devices.

    The longest come first: what would run out of memory does so at once.
    """
    alike: dict[tuple[BatchShape, tuple[int, ...]], list[int]] = {}
    for index, tree in enumerate(trees):
        alike.setdefault((batch_shape(tree), tree.tokens[: tree.prefix_len]), []).append(index)
    # By prefix within a length of prefixes, so that each is read once.
    ordered = sorted(alike.items(), key=lambda item: (item[0][0].prefix, item[0][1], item[0][0]), reverse=True)
    for (shape, prefix), indices in ordered:
        size = shape.rows(budget) * groups
        for start in range(0, len(indices), size):
            taken = tuple(indices[start : start + size])
            yield _batch(shape, size, prefix, taken, [trees[index] for index in taken])


def batch_shape(tree: TokenTree) -> BatchShape:
    """The shape that a tree is run in."""
    length = len(tree.tokens) - tree.prefix_len
    # A sixteenth to an eighth of the length, from 64 on: filling up costs one token in twenty, for few programs. Those
    # that share a prefix are few, and with more shapes they would fill fewer batches.
    step = 1 << max((length - 1).bit_length() - 4, 4 if tree.prefix_len else 3)
    predictors = len({scored.position for scored in tree.targets})
    prefix = prefix_capacity(tree.prefix_len) if tree.prefix_len else 0
    return BatchShape(prefix, _rounded(length, step), _rounded(predictors, 4), _rounded(len(tree.targets), 8))


def prefix_capacity(tokens: int) -> int:
    """Places that keys and values of a prefix are kept in."""
    return max(MIN_PREFIX_CAPACITY, 1 << (tokens - 1).bit_length())


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
    shape: BatchShape, rows: int, prefix: tuple[int, ...], indices: tuple[int, ...], trees: Sequence[TokenTree]
) -> Batch:
    arrays = BatchArrays(
        tokens_BT=np.zeros((rows, shape.length), np.int32),
        positions_BT=np.zeros((rows, shape.length), np.int32),
        # Padding attends only to itself and is masked for all others.
        ends_BT=np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (rows, 1)),
        logit_positions_BQ=np.zeros((rows, shape.logit_positions), np.int32),
        logit_index_BC=np.zeros((rows, shape.targets), np.int32),
        targets_BC=np.zeros((rows, shape.targets), np.int32),
    )
    for row, tree in enumerate(trees):
        _fill_row(arrays, row, tree)
    return Batch(indices, prefix, arrays)


def _fill_row(arrays: BatchArrays, row: int, tree: TokenTree) -> None:
    """Writes a tree into its row, without the tokens of the prefix."""
    prefix_len, length = tree.prefix_len, len(tree.tokens) - tree.prefix_len
    arrays.tokens_BT[row, :length] = tree.tokens[prefix_len:]
    arrays.positions_BT[row, :length] = tree.positions[prefix_len:]
    arrays.ends_BT[row, :length] = np.array(tree.ends[prefix_len:]) - prefix_len
    positions = sorted({target.position for target in tree.targets})
    arrays.logit_positions_BQ[row, : len(positions)] = np.array(positions) - prefix_len
    arrays.logit_index_BC[row, : len(tree.targets)] = [positions.index(target.position) for target in tree.targets]
    arrays.targets_BC[row, : len(tree.targets)] = [target.token for target in tree.targets]
