"""Measures tokens per second of scoring by the size of a batch: the basis of `stages.lm.scoring.batches.CPU_BUDGET`.

Run from the project's folder after `make repro`: `python -m bench.scoring.sizes MODEL [LENGTH [PREFIX]]`, where MODEL
is a model folder, LENGTH the tokens of a question (120) and PREFIX the tokens of a shared prefix (0), which are
prefilled before and not counted. The sizes alternate.
"""

import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.io.load import open_model
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.scoring.batches import Batch, TokenBudget, batch_shape, batches
from stages.lm.scoring.forward import device_arrays, prefill_prefix, token_logprobs
from stages.lm.tokens.trees import TargetToken, TokenTree

ROUNDS, QUESTIONS = 9, (1, 2, 3, 4, 6, 8, 12, 16, 32)
FLOAT32 = jnp.dtype("float32")


def main(folder: Path, length: int = 120, prefix: int = 0) -> None:
    """Prints a row for each number of questions in a batch."""
    mesh = device_mesh()
    graph, state = nnx.split(open_model(folder, sharding_fn(mesh)).decoder)
    with jax.set_mesh(mesh):
        planned = {rows: _batch(rows, length, prefix) for rows in QUESTIONS}
        arrays = {rows: device_arrays(batch, mesh) for rows, batch in planned.items()}
        shared = prefill_prefix(graph, state, planned[1].prefix, FLOAT32)
        seconds: dict[int, list[float]] = {rows: [] for rows in QUESTIONS}
        for _ in range(1 + ROUNDS):
            for rows in QUESTIONS:
                started = time.perf_counter()
                jax.block_until_ready(token_logprobs(graph, state, shared, arrays[rows], dtype=FLOAT32, mesh=mesh))
                seconds[rows].append(time.perf_counter() - started)
    print("| questions | tokens | tokens/s |\n|---:|---:|---:|")
    for rows, times in seconds.items():
        # The first one includes compilation.
        print(f"| {rows} | {rows * length:,} | {rows * length / statistics.median(times[1:]):,.0f} |")


def _batch(rows: int, length: int, prefix: int) -> Batch:
    """A batch of equal questions with two choices."""
    positions = tuple(range(prefix + length))
    ends = (prefix + length,) * (prefix + length)
    targets = tuple(TargetToken(positions[-1], token) for token in (5, 6))
    tree = TokenTree(tuple(position % 97 for position in positions), positions, ends, targets, ((0,), (1,)), prefix)
    tokens = rows * batch_shape(tree).length
    [batch] = batches([tree] * rows, 1, TokenBudget(tokens, tokens))
    return batch


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
