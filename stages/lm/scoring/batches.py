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
    logit_positions_BQ: np.ndarray
    targets_BC: np.ndarray
    logit_index_BC: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a device is given, in the order of `stages.lm.scoring.forward.token_logprobs`."""
        return (
            self.tokens_BT,
            self.positions_BT,
            self.ends_BT,
            self.logit_positions_BQ,
            self.logit_index_BC,
            self.targets_BC,
        )


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
        alike.setdefault((shape_of(tree), tree.tokens[: tree.prefix_len]), []).append(index)
    # By prefix within a length of prefixes, so that each is read once.
    ordered = sorted(alike.items(), key=lambda item: (item[0][0].prefix, item[0][1], item[0][0]), reverse=True)
    for (shape, prefix), indices in ordered:
        size = shape.rows(budget) * groups
        for start in range(0, len(indices), size):
            taken = tuple(indices[start : start + size])
            yield _batch(shape, size, prefix, taken, [trees[index] for index in taken])


def shape_of(tree: TokenTree) -> BatchShape:
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
    shape: BatchShape, size: int, prefix: tuple[int, ...], indices: tuple[int, ...], trees: Sequence[TokenTree]
) -> Batch:
    length = shape.length
    batch = Batch(
        indices,
        prefix,
        tokens_BT=np.zeros((size, length), np.int32),
        positions_BT=np.zeros((size, length), np.int32),
        # Padding sees itself alone.
        ends_BT=np.tile(np.arange(1, length + 1, dtype=np.int32), (size, 1)),
        logit_positions_BQ=np.zeros((size, shape.logit_positions), np.int32),
        targets_BC=np.zeros((size, shape.targets), np.int32),
        logit_index_BC=np.zeros((size, shape.targets), np.int32),
    )
    for row, tree in enumerate(trees):
        _fill(batch, row, tree)
    return batch


def _fill(batch: Batch, row: int, tree: TokenTree) -> None:
    """Writes a tree into its row, without the tokens that the prefix holds."""
    shared, length = tree.prefix_len, len(tree.tokens) - tree.prefix_len
    batch.tokens_BT[row, :length] = tree.tokens[shared:]
    batch.positions_BT[row, :length] = tree.positions[shared:]
    batch.ends_BT[row, :length] = np.array(tree.ends[shared:]) - shared
    predictors = sorted({scored.position for scored in tree.targets})
    batch.logit_positions_BQ[row, : len(predictors)] = np.array(predictors) - shared
    batch.targets_BC[row, : len(tree.targets)] = [scored.token for scored in tree.targets]
    batch.logit_index_BC[row, : len(tree.targets)] = [predictors.index(scored.position) for scored in tree.targets]
