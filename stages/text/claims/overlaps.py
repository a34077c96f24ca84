"""Substring search between two large sets of normalised texts, in time linear in their total length.

Searching for millions of texts at once takes gigabytes. So a rolling hash (Rabin-Karp) first compares the beginning of
each text with all windows of that length in the others, and only the few texts whose beginning occurs are searched for.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Characters. A shorter text can occur in another by chance ("Thank you."), which does not count as an overlap.
SHORTEST_OVERLAP = 20

# Up to this many texts are searched for directly, without the hashes.
_MAX_UNFILTERED = 5_000
# How many texts, and how many beginnings, have their characters in memory at a time.
_TEXTS_PER_BATCH, _BEGINNINGS_PER_BATCH = 5_000, 100_000
# The base of the rolling hash: odd, so that no power of it is 0. Its value matters little, since matches are verified.
_BASE = np.uint64(0x9E3779B97F4A7C15)
# Shifting a hash by this leaves its upper 26 bits: its slot in a table of 2**26.
_SLOT = np.uint64(64 - 26)


def normalised(text: pl.Expr) -> pl.Expr:
    """Text in the form in which overlaps are searched: NFKC, lower case, single spaces, no quotes around it."""
    spaces = r"\s\s+|[^\S ]"  # any white space except a single space, which needs no replacement
    return nfkc(text).str.to_lowercase().str.replace_all(spaces, " ").str.strip_chars(' "')


def nfkc(text: pl.Expr) -> pl.Expr:
    """Text in Unicode NFKC; nearly all of it is ASCII, which is NFKC already and is passed through."""
    is_ascii = text.str.len_bytes() == text.str.len_chars()
    return pl.coalesce(pl.when(~is_ascii).then(text).str.normalize("NFKC"), text)


def occurs_in(texts: pl.Series, questions: pl.Series) -> pl.Series:
    """Whether each of the (normalised) texts is a substring of a question; normalises the questions."""
    haystacks = _normalised(questions)
    patterns = _candidates(haystacks, texts)
    if patterns.is_empty():
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(texts))
    matches = haystacks.str.extract_many(patterns.implode(), overlapping=True).explode().drop_nulls().unique()
    return texts.is_in(matches.implode())


def contains_any(texts: pl.Series, avoided: pl.Series) -> pl.Series:
    """Whether each of the (normalised) texts contains one of the texts to avoid; normalises the latter."""
    patterns = _candidates(texts, _normalised(avoided))
    if patterns.is_empty():
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(texts))
    return texts.str.contains_any(patterns.implode())


def _normalised(texts: pl.Series) -> pl.Series:
    return texts.to_frame("text").select(normalised(pl.col("text")))["text"]


def _candidates(haystacks: pl.Series, texts: pl.Series) -> pl.Series:
    """The distinct texts that are long enough, without most of those whose beginning occurs in no haystack."""
    patterns = texts.filter(texts.str.len_chars() >= SHORTEST_OVERLAP).unique(maintain_order=True)
    if len(patterns) <= _MAX_UNFILTERED:
        return patterns
    beginnings = np.concatenate(
        [
            _hashes(_characters(batch.str.slice(0, SHORTEST_OVERLAP)), step=SHORTEST_OVERLAP)
            for batch in _batches(patterns, _BEGINNINGS_PER_BATCH)
        ]
    )
    # Most windows fall into a slot without a beginning and need no exact comparison.
    is_used = np.zeros(2**26, dtype=bool)
    is_used[beginnings >> _SLOT] = True
    windows = [np.zeros(0, dtype=np.uint64)]
    for batch in _batches(haystacks, _TEXTS_PER_BATCH):
        hashes = _hashes(_characters(batch), step=1)
        windows.append(hashes[is_used[hashes >> _SLOT]])
    return patterns.filter(pl.Series(np.isin(beginnings, np.concatenate(windows))))


def _batches(texts: pl.Series, length: int) -> Iterator[pl.Series]:
    return (texts.slice(start, length) for start in range(0, len(texts), length))


def _characters(texts: pl.Series) -> NDArray[np.uint64]:
    """The code points of all texts, concatenated."""
    joined = "".join(texts.to_list())
    return np.frombuffer(joined.encode("utf-32-le"), dtype="<u4").astype(np.uint64)


def _hashes(characters: NDArray[np.uint64], step: int) -> NDArray[np.uint64]:
    """A hash of each window of `SHORTEST_OVERLAP` characters that begins at a multiple of `step`."""
    ends = len(characters) - SHORTEST_OVERLAP + 1
    hashes = np.zeros(max(-(-ends // step), 0), dtype=np.uint64)
    for offset in range(SHORTEST_OVERLAP if len(hashes) else 0):
        hashes = hashes * _BASE + characters[offset : offset + ends : step]
    return hashes
