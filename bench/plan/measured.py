"""Compares the planned memory of a step with the measured one, on this machine's CPU: see README.md.

Run from the project's folder: `python -m bench.plan.measured`. Each step runs in a process of its own.
"""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from flax import nnx

from bench.plan.run import CONFIG, RECIPE
from stages.lm.io.hf_config import parse_config
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.sharding import device_mesh
from stages.lm.planning.programs import Program, judge_program, training_program, training_shape
from stages.lm.scoring.batches import BatchArrays
from stages.lm.scoring.forward import token_logprobs
from stages.lm.training.optimizer import make_optimizer
from stages.lm.training.packing import Packed
from stages.lm.training.step import compiled_step, stacked

TOKENS, ROWS, LENGTH = 2_048, 16, 128


class Step(NamedTuple):
    """A step's plan, a function that runs it, and a function that returns its current arguments."""

    program: Program
    call: Callable[[], Any]
    arguments: Callable[[], Any]


def main() -> None:
    """Prints a row for each step, or for the one that the command line names."""
    steps = {"judging": judging, "fine-tuning": fine_tuning}
    if len(sys.argv) == 2:
        _report(sys.argv[1], steps[sys.argv[1]]())
        return
    print("| step | planned MiB | measured MiB | ratio |\n|---|---:|---:|---:|")
    for name in steps:
        subprocess.run([sys.executable, "-m", "bench.plan.measured", name], check=True)


def judging() -> Step:
    """A batch of questions of TOKENS tokens."""
    program = judge_program(parse_config(CONFIG), RECIPE.dtype, device_mesh(), TOKENS)
    graph, weights = _decoder()
    ends = np.tile(np.arange(1, LENGTH + 1, dtype=np.int32), (ROWS, 1))
    tokens, logit_positions, targets = (np.zeros((ROWS, size), np.int32) for size in (LENGTH, 4, 8))
    arrays = BatchArrays(*map(jnp.asarray, (tokens, tokens, ends, logit_positions, targets, targets)))
    mesh = device_mesh()

    def call() -> Any:
        return token_logprobs(graph, weights, None, arrays, dtype=RECIPE.dtype, mesh=mesh)

    return Step(program, call, lambda: weights)


def fine_tuning() -> Step:
    """A training step with RECIPE's batch."""
    program, mesh = training_program(parse_config(CONFIG), RECIPE, device_mesh()), device_mesh()
    graph, weights = _decoder()
    optimizer = make_optimizer(RECIPE.optimizer, RECIPE.steps)
    step = compiled_step(graph, optimizer, weights, mesh, RECIPE.dtype, RECIPE.remat)
    shape = training_shape(RECIPE, RECIPE.batch_size, 1)
    size_BT, size_GC = (shape.rows, shape.length), (1, shape.targets)
    ends = np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (shape.rows, 1))
    tokens, targets = np.zeros(size_BT, np.int32), np.zeros(size_GC, np.int32)
    batch = Packed(tokens, tokens, ends, targets, targets, np.ones(size_GC, np.float32))
    state = [weights, optimizer.init(weights)]

    def call() -> Any:
        state[0], state[1], result = step(state[0], state[1], nnx.State({}), stacked([batch], mesh))
        return result

    return Step(program, call, lambda: state)


def _decoder() -> tuple[nnx.GraphDef[Decoder], nnx.State]:
    """A decoder of zeros: computing takes as long, and initialising with random numbers would take time to compile."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(parse_config(CONFIG), nnx.Rngs(0))))
    return graph, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)


def _report(name: str, step: Step) -> None:
    jax.block_until_ready(step.call())
    argument_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(step.arguments()))
    peaks = []
    for _ in range(3):
        before = _reset_peak()
        jax.block_until_ready(step.call())
        peaks.append(argument_bytes + _peak_bytes() - before)
    planned, measured = step.program.bytes / 2**20, max(peaks) / 2**20
    print(f"| {name} | {planned:,.0f} | {measured:,.0f} | {measured / planned:.2f} |", flush=True)


def _reset_peak() -> int:
    """Returns free memory to the system and resets the process's peak; returns the bytes in use."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return psutil.Process().memory_info().rss


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
