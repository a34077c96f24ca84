"""Times a training step with memory pages of 4 KiB and with huge pages (glibc.malloc.hugetlb=1).

Run from the project's folder: `python -m bench.memory.run`. Each process runs a few steps; the two kinds alternate.
"""

import os
import resource
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.io.hf_config import parse_config
from stages.lm.nn.decoder import Decoder

# SmolLM2-135M's sizes with fewer layers, so that a round takes a minute.
CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 6,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
ROUNDS, STEPS = 3, 4


def main() -> None:
    """Prints the median seconds and page faults of a forward and backward pass, for both kinds of pages."""
    print("| rows x tokens | pages | seconds | page faults | times as fast |\n|---|---|---|---|---|")
    for rows in (4, 12):
        pairs = [(_measure(rows, ""), _measure(rows, "glibc.malloc.hugetlb=1")) for _ in range(ROUNDS)]
        ratio = statistics.median(small[0] / huge[0] for small, huge in pairs)
        for index, (pages, speedup) in enumerate((("4 KiB", ""), ("huge", f"{ratio:.2f}"))):
            seconds, faults = (statistics.median(pair[index][value] for pair in pairs) for value in (0, 1))
            print(f"| {rows} x 256 | {pages} | {seconds:.2f} | {faults:,.0f} | {speedup} |", flush=True)


def _measure(rows: int, tunables: str) -> tuple[float, float]:
    """Seconds and page faults of a step, in a process of its own."""
    environment = os.environ | {"GLIBC_TUNABLES": tunables}
    command = [sys.executable, "-m", "bench.memory.run", str(rows)]
    seconds, faults = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    return float(seconds), float(faults)


def step(rows: int) -> None:
    """Prints the median seconds and page faults of a few steps in this process."""
    graph, weights = nnx.split(Decoder(parse_config(CONFIG), nnx.Rngs(0)))
    tokens, positions = jnp.ones((rows, 256), jnp.int32), jnp.tile(jnp.arange(256), (rows, 1))
    ends = jnp.full((rows, 256), 256)
    gradient = jax.jit(jax.grad(lambda weights: (nnx.merge(graph, weights)(tokens, positions, ends) ** 2).sum()))
    samples = []
    for _ in range(STEPS + 1):
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        jax.block_until_ready(gradient(weights))
        samples.append((time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
    # The first step includes compilation.
    print(*(statistics.median(values) for values in zip(*samples[1:], strict=True)))


if __name__ == "__main__":
    step(int(sys.argv[1])) if len(sys.argv) > 1 else main()
