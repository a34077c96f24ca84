"""What a plan says of a step on this machine's CPU, beside what the step then takes: see README.md.

Run from the project's folder: `python -m bench.plan.measured`. Each step runs in a process of its own.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from flax import nnx

from bench.plan.run import CONFIG, RECIPE
from stages.lm.config import parse_config
from stages.lm.memory import peak_bytes
from stages.lm.model import Decoder
from stages.lm.optimizer import update_rule
from stages.lm.packing import Packed
from stages.lm.planning.programs import Program, judge_program, training_program, training_shape
from stages.lm.scoring import _token_logprobs
from stages.lm.sharding import device_mesh
from stages.lm.steps import compiled_step, stacked

TOKENS, ROWS, LENGTH = 2_048, 16, 128


def main() -> None:
    """Prints a row for each step; with a step's name it takes that one."""
    steps: dict[str, Callable[[], tuple[Program, Callable[[], Any]]]] = {"judging": judging, "fine-tuning": fine_tuning}
    if len(sys.argv) == 2:
        _report(sys.argv[1], steps[sys.argv[1]])
        return
    print("| step | planned MiB | measured MiB | ratio | GFLOP | s | GFLOP/s |\n|---|---:|---:|---:|---:|---:|---:|")
    for name in steps:
        subprocess.run([sys.executable, "-m", "bench.plan.measured", name], check=True)


def judging() -> tuple[Program, Callable[[], Any]]:
    """A batch of TOKENS."""
    program = judge_program(parse_config(CONFIG), RECIPE.dtype, device_mesh(), TOKENS)
    graph, weights = nnx.split(Decoder(parse_config(CONFIG), nnx.Rngs(0)))
    ends = np.tile(np.arange(1, LENGTH + 1, dtype=np.int32), (ROWS, 1))
    tokens, read, choices = (np.zeros((ROWS, size), np.int32) for size in (LENGTH, 4, 8))
    arrays = (tokens, tokens, ends, read, choices, choices)
    return program, lambda: _token_logprobs(
        graph, weights, None, *map(jnp.asarray, arrays), RECIPE.dtype, device_mesh()
    )


def fine_tuning() -> tuple[Program, Callable[[], Any]]:
    """A step of RECIPE's batch."""
    program, mesh = training_program(parse_config(CONFIG), RECIPE, device_mesh()), device_mesh()
    graph, weights = nnx.split(Decoder(parse_config(CONFIG), nnx.Rngs(0)))
    rule = update_rule(RECIPE.rule, RECIPE.steps)
    step = compiled_step(graph, rule, weights, mesh, RECIPE.dtype, RECIPE.remat)
    shape = training_shape(RECIPE, RECIPE.batch, 1)
    size, predictions = (shape.rows, shape.length), (1, shape.predictions)
    ends = np.tile(np.arange(1, shape.length + 1, dtype=np.int32), (shape.rows, 1))
    tokens, places = np.zeros(size, np.int32), np.zeros(predictions, np.int32)
    batch = Packed(tokens, tokens, ends, places, places, np.ones(predictions, np.float32))
    held = [weights, rule.init(weights)]

    def once() -> Any:
        held[0], held[1], result = step(held[0], held[1], nnx.State({}), stacked([batch], mesh))
        return result

    return program, once


def _report(name: str, made: Callable[[], tuple[Program, Callable[[], Any]]]) -> None:
    jax.block_until_ready(jnp.zeros(1) + 1)
    before = psutil.Process().memory_info().rss
    program, call = made()
    assert program.counts is not None
    jax.block_until_ready(call())
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    planned, measured = program.bytes / 2**20, (peak_bytes() - before) / 2**20
    gflop, seconds = program.counts.flops / 1e9, min(times)
    cells = (f"{planned:,.0f}", f"{measured:,.0f}", f"{measured / planned:.2f}", f"{gflop:,.0f}", f"{seconds:.2f}")
    print(f"| {name} | {' | '.join(cells)} | {gflop / seconds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
