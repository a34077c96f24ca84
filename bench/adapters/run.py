"""A training step of low-rank adapters: the backward pass that is written out against the one that JAX derives.

Run from the project's folder: `python -m bench.adapters.run`. Both take turns, so that a machine's drift hits both.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from bench.memory.run import CONFIG
from stages.lm import linear
from stages.lm.config import parse_config
from stages.lm.linear import Adapter
from stages.lm.lora import add_adapters
from stages.lm.model import Decoder

ROWS, LENGTH, LAYERS, REPEATS = 6, 256, 3, 9
TARGETS = ("query", "key", "value", "out", "gate", "up", "down")


def main() -> None:
    """Prints median milliseconds of either, and the median of the pairwise ratios."""
    ours = {remat: _gradient(remat) for remat in (False, True)}
    setattr(linear, "_low_rank_sum", _derived)  # noqa: B010 (its type is that of what has its gradient written out)
    derived = {remat: _gradient(remat) for remat in (False, True)}
    print("| layers recomputed | written out, ms | derived by JAX, ms | ratio |\n|---|---|---|---|")
    for remat in (False, True):
        pairs = [(_seconds(ours[remat]), _seconds(derived[remat])) for _ in range(REPEATS + 1)][1:]
        medians = [1e3 * statistics.median(times) for times in zip(*pairs, strict=True)]
        ratio = statistics.median(theirs / ours for ours, theirs in pairs)
        print(f"| {'yes' if remat else 'no'} | {medians[0]:.0f} | {medians[1]:.0f} | {ratio:.2f} |", flush=True)


def _derived(x_TI: jax.Array, kernel_IO: jax.Array, a_IR: jax.Array, b_RO: jax.Array) -> jax.Array:
    return x_TI @ kernel_IO + (x_TI @ a_IR) @ b_RO


def _gradient(remat: bool) -> Callable[[], object]:
    decoder = Decoder(parse_config(CONFIG | {"num_hidden_layers": LAYERS}), nnx.Rngs(0))
    add_adapters(decoder, TARGETS, rank=16, alpha=32.0, seed=0)
    graph, adapters, frozen = nnx.split(decoder, Adapter, ...)  # type: ignore[misc]
    tokens, positions = jnp.ones((ROWS, LENGTH), jnp.int32), jnp.tile(jnp.arange(LENGTH), (ROWS, 1))
    ends = jnp.full((ROWS, LENGTH), LENGTH)

    @jax.jit
    @jax.grad
    def gradient(adapters: nnx.State, frozen: nnx.State) -> jax.Array:
        return (nnx.merge(graph, adapters, frozen)(tokens, positions, ends, remat=remat) ** 2).sum()

    jax.block_until_ready(gradient(adapters, frozen))  # compiled while its own kind of projection is in place
    return lambda: jax.block_until_ready(gradient(adapters, frozen))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
