"""Times attention as two plain batched products against `jax.nn.dot_product_attention`, forward and backward.

Run from the project's folder: `python -m bench.attention.run`. The two alternate, so that a drift of the machine's
speed affects both.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from stages.lm.nn.attention import attend

# SmolLM2-135M: heads, key-value heads, head width.
N, K, H = 9, 3, 64
REPEATS = 15


def main() -> None:
    """Prints the median milliseconds of both, and the median of the pairwise ratios."""
    print("| shape B x T | direction | two products, ms | dot_product_attention, ms | ratio |\n|---|---|---|---|---|")
    for batch, length in ((16, 128), (8, 256), (4, 512)):
        arrays = _arrays(batch, length)
        for direction in ("forward", "forward and backward"):
            ours, builtin = (_compiled(function, direction) for function in (partial(attend, scale=H**-0.5), _builtin))
            # The first pair includes compilation.
            pairs = [(_seconds(ours, arrays), _seconds(builtin, arrays)) for _ in range(REPEATS + 1)][1:]
            medians = [1e3 * statistics.median(times) for times in zip(*pairs, strict=True)]
            ratio = statistics.median(builtin_seconds / our_seconds for our_seconds, builtin_seconds in pairs)
            print(f"| {batch} x {length} | {direction} | {medians[0]:.1f} | {medians[1]:.1f} | {ratio:.2f} |")


def _builtin(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    return jax.nn.dot_product_attention(query, key, value, mask=mask[:, None])


def _compiled(function: Callable[..., jax.Array], direction: str) -> Callable[..., object]:
    if direction == "forward":
        return jax.jit(function)
    return jax.jit(jax.grad(lambda *arrays: function(*arrays).sum(), argnums=(0, 1, 2)))


def _arrays(batch: int, length: int) -> tuple[jax.Array, ...]:
    """Random queries, keys and values, and a causal mask."""
    keys = jax.random.split(jax.random.key(0), 3)
    heads = (N, K, K)
    inputs = [jax.random.normal(key, (batch, length, count, H)) for key, count in zip(keys, heads, strict=True)]
    return (*inputs, jnp.broadcast_to(jnp.tril(jnp.ones((length, length), bool)), (batch, length, length)))


def _seconds(call: Callable[..., object], arrays: tuple[jax.Array, ...]) -> float:
    started = time.perf_counter()
    jax.block_until_ready(call(*arrays))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
