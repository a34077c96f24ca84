"""Tokens per second of scoring by the size of a batch: why a CPU's holds no more than `CPU_TOKENS`.

Run from the project's folder after `make repro`: `python -m bench.scoring.sizes MODEL [LENGTH]`, where MODEL is a model
folder and LENGTH a question's places (120). The sizes take turns.
"""

import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.batches import batches, shape_of
from stages.lm.loading import open_model
from stages.lm.scoring import _device_arrays, token_logprobs
from stages.lm.shapes import Mesh
from stages.lm.sharding import device_mesh, placer
from stages.lm.trees import Scored, TokenTree

ROUNDS, QUESTIONS = 9, (2, 4, 6, 8, 12, 16, 32)
FLOAT32 = jnp.dtype("float32")


def main(folder: Path, length: int) -> None:
    """Prints a row for each number of questions in a batch."""
    mesh = device_mesh()
    graph, state = nnx.split(open_model(folder, placer(mesh)).decoder)
    with jax.set_mesh(mesh):
        arrays = {rows: _batch(rows, length, mesh) for rows in QUESTIONS}
        seconds: dict[int, list[float]] = {rows: [] for rows in QUESTIONS}
        for _ in range(1 + ROUNDS):
            for rows in QUESTIONS:
                began = time.perf_counter()
                jax.block_until_ready(token_logprobs(graph, state, None, *arrays[rows], FLOAT32, mesh))
                seconds[rows].append(time.perf_counter() - began)
    print("| questions | tokens | tokens/s |\n|---:|---:|---:|")
    for rows, took in seconds.items():
        # The first time a program is compiled.
        print(f"| {rows} | {rows * length:,} | {rows * length / statistics.median(took[1:]):,.0f} |")


def _batch(rows: int, length: int, mesh: Mesh) -> tuple[jax.Array, ...]:
    """The arrays of equal questions with two choices."""
    places = tuple(range(length))
    scored = tuple(Scored(length - 1, token) for token in (5, 6))
    tree = TokenTree(tuple(place % 97 for place in places), places, (length,) * length, scored, ((0,), (1,)))
    [batch] = batches([tree] * rows, 1, rows * shape_of(tree).length)
    return _device_arrays(batch, mesh)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 120)
