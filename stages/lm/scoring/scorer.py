"""Log-probabilities for long lists of questions, in chunks, through the answer cache.

The list is read and the results are yielded chunk by chunk, so that memory does not grow with the list. While one
chunk is scored, a thread tokenises the next.
"""

import hashlib
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from stages.core.iteration import Item, batched
from stages.core.shared_types import Advance
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP
from stages.lm.scoring.batches import token_budget
from stages.lm.scoring.cache import AnswerCache, BatchResult
from stages.lm.scoring.forward import ScoredBatch, score_trees
from stages.lm.tokens.trees import TokenTree

# A chunk has this many questions per token of a batch, which is about 300 batches: only the last batch of each shape is
# padded, so few of them are. A tree takes 8 KiB, hence the maximum.
CHUNK_PER_TOKEN, MAX_CHUNK = 4, 262_144


@dataclass(frozen=True)
class Scorer:
    """A model on the devices of a mesh, the dtype that it computes in, and the cache of its answers."""

    decoder: Decoder
    mesh: Mesh
    dtype: jnp.dtype
    cache: AnswerCache = field(default_factory=AnswerCache)

    @property
    def chunk_size(self) -> int:
        """How many questions are read and in memory at a time."""
        return chunk_size(token_budget(self.mesh).plain, self.mesh.shape[FSDP])


def arithmetic(dtype: jnp.dtype, mesh: Mesh) -> str:
    """Names what a score's last digits depend on besides the question, the weights and the code."""
    device = mesh.devices.flat[0]
    host = f" {platform.machine()} {os.cpu_count()} cores" if device.platform == "cpu" else ""
    budget = token_budget(mesh)
    batch = f"batch {budget.plain}, {budget.with_prefix} with a prefix"
    return f"{dtype.name} {device.device_kind}{host} {dict(mesh.shape)} jax {jax.__version__} {batch}"


def score_all(scorer: Scorer, trees: Iterable[TokenTree], advance: Advance) -> Iterator[np.ndarray]:
    """Yields each tree's log-probabilities, [choices] float32, in the order of the list; equal trees are scored once.

    Lazy: it reads a chunk of the list, yields its results, and reads on when these are consumed. `advance` gets how
    many questions are done, and a note on the speed. With several processes, all of them pass the same list and consume
    all results.
    """
    rate = _TokenRate()

    def compute(missing: Sequence[TokenTree]) -> Iterator[BatchResult]:
        for batch in score_trees(scorer.decoder, missing, scorer.dtype, scorer.mesh):
            yield BatchResult(batch.trees, batch.logprobs, rate.note(batch))

    for chunk in prefetched(batched(trees, scorer.chunk_size)):
        yield from scorer.cache.get_or_compute([content_key(tree) for tree in chunk], chunk, compute, advance)


def chunk_size(tokens: int, groups: int) -> int:
    """Questions in a chunk, where a batch has `tokens` tokens for each of the `groups` of devices."""
    return min(CHUNK_PER_TOKEN * tokens * groups, MAX_CHUNK)


def content_key(tree: TokenTree) -> bytes:
    """A hash of the tree, 16 bytes: its key in the answer cache."""
    parts: list[Sequence[int]] = [tree.tokens, tree.positions, tree.ends, *tree.paths]
    parts += [[target.position, target.token] for target in tree.targets]
    sizes = [len(parts), len(tree.paths), tree.prefix_len, *map(len, parts)]
    return hashlib.blake2b(
        b"".join(np.asarray(part, np.int32).tobytes() for part in [sizes, *parts]), digest_size=16
    ).digest()


@dataclass
class _TokenRate:
    """Counts the tokens so far, for the progress line."""

    tokens: int = 0
    padded_tokens: int = 0
    began: float = field(default_factory=time.monotonic)

    def note(self, batch: ScoredBatch) -> str:
        self.tokens += batch.tokens
        self.padded_tokens += batch.padded_tokens
        rate = self.tokens / max(time.monotonic() - self.began, 1e-9)
        return f"{self.tokens:,} tokens, {rate:,.0f} tokens/s, {1 - self.tokens / self.padded_tokens:.0%} padding"


def prefetched(chunks: Iterator[list[Item]]) -> Iterator[list[Item]]:
    """Yields the chunks, and produces the next one in a thread meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, chunks, None)
        while (chunk := future.result()) is not None:
            future = thread.submit(next, chunks, None)
            yield chunk
