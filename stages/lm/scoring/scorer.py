"""Answers to a long list of questions: what is known is looked up, the rest is asked and kept as it comes.

The list is read, and the answers come, in chunks, so that memory does not grow with it; the next chunk is tokenised
while one is asked.
"""

import hashlib
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from stages.lm.distributed import processes
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP
from stages.lm.scoring.batches import token_budget
from stages.lm.scoring.forward import ScoredBatch, score_trees
from stages.lm.tokens.continuation import batched
from stages.lm.tokens.trees import TokenTree

# Questions whose trees are held at a time, for each token of a batch: some 300 batches, of which the last of each shape
# is filled up. A tree takes 8 KiB, and so there is an end to it.
CHUNK_PER_TOKEN, MAX_CHUNK = 4, 262_144

Advance = Callable[[float, str], None]
Asked = TypeVar("Asked")
# Places in a list of what was asked, what came of each, and a note on the pace.
BatchResult = tuple[Sequence[int], Sequence[np.ndarray], str]


@runtime_checkable
class ScoreCache(Protocol):
    """Scores of this model in this arithmetic, by the content of a question."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, np.ndarray]:
        """Those that are known."""

    def put(self, scores: Mapping[bytes, np.ndarray]) -> None:
        """Keeps them for the next time."""


class NullCache:
    """Knows nothing and keeps nothing."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, np.ndarray]:
        """Nothing."""
        return {}

    def put(self, scores: Mapping[bytes, np.ndarray]) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class Scorer:
    """A model on the devices of a mesh, the arithmetic it is asked in, and what it said before."""

    decoder: Decoder
    mesh: Mesh
    dtype: jnp.dtype
    cache: ScoreCache = field(default_factory=NullCache)


def arithmetic(dtype: jnp.dtype, mesh: Mesh) -> str:
    """What a score's last digits hang on besides the question, the weights and the code."""
    device = mesh.devices.flat[0]
    host = f" {platform.machine()} {os.cpu_count()} cores" if device.platform == "cpu" else ""
    budget = token_budget(mesh)
    batch = f"batch {budget.plain}, {budget.with_prefix} behind a prefix"
    return f"{dtype.name} {device.device_kind}{host} {dict(mesh.shape)} jax {jax.__version__} {batch}"


def score_all(scorer: Scorer, trees: Iterable[TokenTree], advance: Advance) -> Iterator[np.ndarray]:
    """Each tree's log-probabilities, [choices] float32, in the order of the list; equal trees are scored once.

    They come chunk by chunk while the list is read on, and only as they are taken. `advance` is told how many questions
    were done, and how fast. Of several processes all ask the same list, and all take all.
    """
    pace = _Pace()

    def run(trees: Sequence[TokenTree]) -> Iterator[BatchResult]:
        pace.began = pace.began or time.monotonic()
        for done in score_trees(scorer.decoder, trees, scorer.dtype, scorer.mesh):
            yield done.trees, done.logprobs, pace.note(done)

    return cached_map(scorer, trees, content_key, run, advance)


def chunk_size(tokens: int, groups: int) -> int:
    """Questions whose trees are held at a time, by the tokens of a batch for each group of devices."""
    return min(CHUNK_PER_TOKEN * tokens * groups, MAX_CHUNK)


def cached_map(
    scorer: Scorer,
    asked: Iterable[Asked],
    key_of: Callable[[Asked], bytes],
    run: Callable[[Sequence[Asked]], Iterator[BatchResult]],
    advance: Advance,
) -> Iterator[np.ndarray]:
    """What comes of each of `asked`, in order: from what is kept, or by `run`, which gets every distinct one once.

    `run` says batch by batch which of those it was given are done, what came of each, and a note on its pace.
    """
    held = chunk_size(token_budget(scorer.mesh).plain, scorer.mesh.shape[FSDP])
    for chunk in _prefetch(batched(asked, held)):
        keys = [key_of(one) for one in chunk]
        yield from _lookup_or_run(scorer.cache, keys, dict(zip(keys, chunk, strict=True)), run, advance)


def _lookup_or_run(
    kept: ScoreCache,
    keys: Sequence[bytes],
    asked: Mapping[bytes, Asked],
    run: Callable[[Sequence[Asked]], Iterator[BatchResult]],
    advance: Advance,
) -> list[np.ndarray]:
    often = Counter(keys)
    found = dict(kept.get(list(asked)))
    # One process may have kept what another has not yet seen, and all have to ask the device the same.
    known = processes.broadcast_from_first(np.array([key in found for key in asked]))
    left = [key for key, is_known in zip(asked, known, strict=True) if not is_known]
    if len(left) < len(asked):
        advance(len(keys) - sum(often[key] for key in left), "known from before")
    for indices, values, note in run([asked[key] for key in left]):
        fresh = {left[index]: value for index, value in zip(indices, values, strict=True)}
        kept.put(fresh)
        found |= fresh
        advance(sum(often[key] for key in fresh), note)
    return [found[key] for key in keys]


def content_key(tree: TokenTree) -> bytes:
    """Sixteen bytes that change with the tree."""
    parts: list[Sequence[int]] = [tree.tokens, tree.positions, tree.ends, *tree.paths]
    parts += [[scored.position, scored.token] for scored in tree.targets]
    sizes = [len(parts), len(tree.paths), tree.prefix_len, *map(len, parts)]
    return hashlib.blake2b(
        b"".join(np.asarray(part, np.int32).tobytes() for part in [sizes, *parts]), digest_size=16
    ).digest()


@dataclass
class _Pace:
    """What was fed so far, for the progress line."""

    tokens: int = 0
    fed: int = 0
    began: float = 0.0

    def note(self, done: ScoredBatch) -> str:
        self.tokens += done.tokens
        self.fed += done.padded_tokens
        rate = self.tokens / max(time.monotonic() - self.began, 1e-9)
        return f"{self.tokens:,} tokens, {rate:,.0f} tokens/s, {1 - self.tokens / self.fed:.0%} padding"


def _prefetch(chunks: Iterator[list[Asked]]) -> Iterator[list[Asked]]:
    """The chunks, each made in a thread of its own while the one before is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = thread.submit(next, chunks, None)
            yield chunk
