"""Batches of question trees: padded arrays of few shapes, each of which is compiled once.

A question always gets the same shape, regardless of the other questions in the batch: the length of its own tokens,
after the prefix that it shares with others, determines the shape.
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
    """Input tokens per batch and group of devices: for questions without and with a shared prefix."""

    plain: int
    with_prefix: int


# Fixed by platform, and not a setting: scores depend on the batch size in their last digits. On a CPU larger batches
# are no faster (bench/scoring). Questions that share a prefix are few and fill few batches; from about 500 tokens on, a
# chip spends more time on matrix products than on loading the weights of a large model.
CPU_BUDGET, ACCELERATOR_BUDGET = TokenBudget(768, 256), TokenBudget(16_384, 512)
# The most tokens for all groups of accelerators together, and the fewest for each. Larger batches would waste more on
# padding the last one of each shape: 100,000 prompts in two orders are about 16 million tokens in 20 shapes.
MAX_GLOBAL_TOKENS, MIN_TOKENS_PER_GROUP = TokenBudget(262_144, 8_192), TokenBudget(1_024, 32)
# Prefixes of up to this many tokens share their compiled programs; longer ones up to twice as many, and so on.
MIN_PREFIX_CAPACITY = 1_024


class BatchShape(NamedTuple):
    """A compiled program's sizes: the prefix's capacity, input tokens, predicting positions and target tokens."""

    prefix: int
    length: int
    logit_positions: int
    targets: int

    def rows(self, budget: TokenBudget) -> int:
        """Questions in a batch, for each group of devices."""
        return max(1, (budget.with_prefix if self.prefix else budget.plain) // self.length)


class BatchArrays(NamedTuple):
    """The arrays of a batch: B rows of T tokens, Q positions that predict targets, and C target tokens a row.

    The tokens are those after the prefix; `positions_BT` counts the prefix too, all other indices do not.
    `logit_index_BC` is the index in `logit_positions_BQ` of the position that predicts a target.
    """

    tokens_BT: Any
    positions_BT: Any
    ends_BT: Any
    logit_positions_BQ: Any
    logit_index_BC: Any
    targets_BC: Any


@dataclass(frozen=True)
class Batch:
    """Trees of equal shape: their indices, in the order of the rows, their common prefix, and their arrays."""

    trees: tuple[int, ...]
    prefix: tuple[int, ...]
    arrays: BatchArrays


def token_budget(mesh: Mesh) -> TokenBudget:
    """The batch sizes on a mesh."""
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return CPU_BUDGET if is_cpu else accelerator_budget(mesh.shape[FSDP])


def accelerator_budget(groups: int) -> TokenBudget:
    """The batch sizes on a number of groups of accelerators."""
    sizes = zip(ACCELERATOR_BUDGET, MAX_GLOBAL_TOKENS, MIN_TOKENS_PER_GROUP, strict=True)
    return TokenBudget(*(max(minimum, min(default, total // groups)) for default, total, minimum in sizes))


def batches(trees: Sequence[TokenTree], groups: int, budget: TokenBudget) -> Iterator[Batch]:
    """Batches of trees with equal shape and prefix, each of about the budget for each group of devices.

    The longest come first: a batch that does not fit into memory fails at once.
    """
    by_shape_and_prefix: dict[tuple[BatchShape, tuple[int, ...]], list[int]] = {}
    for index, tree in enumerate(trees):
        by_shape_and_prefix.setdefault((batch_shape(tree), tree.tokens[: tree.prefix_len]), []).append(index)
    # By capacity, then by prefix, so that each prefix is prefilled once.
    ordered = sorted(
        by_shape_and_prefix.items(), key=lambda item: (item[0][0].prefix, item[0][1], item[0][0]), reverse=True
    )
    for (shape, prefix), indices in ordered:
        size = shape.rows(budget) * groups
        for start in range(0, len(indices), size):
            batch_indices = tuple(indices[start : start + size])
            yield _batch(shape, size, prefix, batch_indices, [trees[index] for index in batch_indices])


def batch_shape(tree: TokenTree) -> BatchShape:
    """The shape that a tree is padded to."""
    length = len(tree.tokens) - tree.prefix_len
    # From 64 tokens on, steps are a sixteenth to an eighth of the length: padding costs one token in twenty, and few
    # programs are compiled. Questions that share a prefix are few, and get coarser steps to fill their batches.
    step = 1 << max((length - 1).bit_length() - 4, 4 if tree.prefix_len else 3)
    logit_positions = len({target.position for target in tree.targets})
    prefix = prefix_capacity(tree.prefix_len) if tree.prefix_len else 0
    return BatchShape(prefix, _round_up(length, step), _round_up(logit_positions, 4), _round_up(len(tree.targets), 8))


def prefix_capacity(tokens: int) -> int:
    """Positions for the keys and values of a prefix of `tokens` tokens."""
    return max(MIN_PREFIX_CAPACITY, 1 << (tokens - 1).bit_length())


def prefix_arrays(prefix: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, positions and ends [1, P] of a prefix, padded to whole blocks; padding attends only to itself."""
    P = _round_up(len(prefix), PREFIX_BLOCK)
    tokens_1P, positions_1P = np.zeros((2, 1, P), np.int32)
    ends_1P = np.arange(1, P + 1, dtype=np.int32)[None].copy()
    tokens_1P[0, : len(prefix)] = prefix
    positions_1P[0, : len(prefix)] = np.arange(len(prefix))
    ends_1P[0, : len(prefix)] = P
    return tokens_1P, positions_1P, ends_1P


def _round_up(size: int, step: int) -> int:
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
