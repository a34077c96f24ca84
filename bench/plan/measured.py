"""The memory that a plan says a step takes on this machine's CPU, beside what it then takes: see README.md.

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
    """A step's plan, a call of it, and what it is called with now."""

    program: Program
    call: Callable[[], Any]
    arguments: Callable[[], Any]


def main() -> None:
    """Prints a row for each step; with a step's name it takes that one."""
    steps = {"judging": judging, "fine-tuning": fine_tuning}
    if len(sys.argv) == 2:
        _report(sys.argv[1], steps[sys.argv[1]]())
        return
    print("| step | planned MiB | measured MiB | ratio |\n|---|---:|---:|---:|")
    for name in steps:
        subprocess.run([sys.executable, "-m", "bench.plan.measured", name], check=True)


def judging() -> Step:
    """A batch of TOKENS."""
    program = judge_program(parse_config(CONFIG), RECIPE.dtype, device_mesh(), TOKENS)
    graph, weights = _decoder()
    ends = np.tile(np.arange(1, LENGTH + 1, dtype=np.int32), (ROWS, 1))
    tokens, read, choices = (np.zeros((ROWS, size), np.int32) for size in (LENGTH, 4, 8))
    arrays = BatchArrays(*map(jnp.asarray, (tokens, tokens, ends, read, choices, choices)))
    mesh = device_mesh()

    def once() -> Any:
        return token_logprobs(graph, weights, None, arrays, dtype=RECIPE.dtype, mesh=mesh)

    return Step(program, once, lambda: weights)


def fine_tuning() -> Step:
    """A step of RECIPE's batch."""
    program, mesh = training_program(parse_config(CONFIG), RECIPE, device_mesh()), device_mesh()
    graph, weights = _decoder()
    rule = make_optimizer(RECIPE.optimizer, RECIPE.steps)
    step = compiled_step(graph, rule, weights, mesh, RECIPE.dtype, RECIPE.remat)
    shape = training_shape(RECIPE, RECIPE.batch_size, 1)
    size, predictions = (shape.rows, shape.length), (1, shape.targets)
    ends = np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (shape.rows, 1))
    tokens, places = np.zeros(size, np.int32), np.zeros(predictions, np.int32)
    batch = Packed(tokens, tokens, ends, places, places, np.ones(predictions, np.float32))
    held = [weights, rule.init(weights)]

    def once() -> Any:
        held[0], held[1], result = step(held[0], held[1], nnx.State({}), stacked([batch], mesh))
        return result

    return Step(program, once, lambda: held)


def _decoder() -> tuple[nnx.GraphDef[Decoder], nnx.State]:
    """Of zeros: what is computed takes as long, and random numbers would be compiled for a while."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(parse_config(CONFIG), nnx.Rngs(0))))
    return graph, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)


def _report(name: str, step: Step) -> None:
    jax.block_until_ready(step.call())
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(step.arguments()))
    peaks = []
    for _ in range(3):
        before = _fresh_peak()
        jax.block_until_ready(step.call())
        peaks.append(held + _peak() - before)
    planned, measured = step.program.bytes / 2**20, max(peaks) / 2**20
    print(f"| {name} | {planned:,.0f} | {measured:,.0f} | {measured / planned:.2f} |", flush=True)


def _fresh_peak() -> int:
    """Forgets what the process took at most until now; returns what it holds, with nothing kept for later."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return psutil.Process().memory_info().rss


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
