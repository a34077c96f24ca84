"""Which texts stand inside which others, compared after normalisation, at a cost that grows with their lengths alone.

Searching for millions of texts at once takes gigabytes. So the first characters of a text are looked up among all
stretches of that length in the others, by a hash, and only the few texts that begin somewhere are searched for whole.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

# A shorter text can stand in another by chance ("Thank you."), which is no overlap.
SHORTEST_OVERLAP = 20

# So few are searched for whole at once.
_FEW = 5_000
# Texts whose characters are held in memory at a time: whole ones, and beginnings.
_AT_A_TIME, _BEGINNINGS_AT_A_TIME = 5_000, 100_000
# Odd, so that no power of it is 0; what it is matters little, since every find is checked.
_BASE = np.uint64(0x9E3779B97F4A7C15)
# Upper bits of a hash that say which of 2**26 slots it falls into.
_SLOT = np.uint64(64 - 26)


def normalised(text: pl.Expr) -> pl.Expr:
    """Text as overlaps are looked for: Unicode NFKC, lower case, single spaces, no quotes of the claim around it."""
    spaces = r"\s\s+|[^\S ]"  # all but a space alone, which stays as it is
    return nfkc(text).str.to_lowercase().str.replace_all(spaces, " ").str.strip_chars(' "')


def nfkc(text: pl.Expr) -> pl.Expr:
    """Text in Unicode NFKC; ASCII, which nearly all of it is, is that already and costs nothing."""
    is_ascii = text.str.len_bytes() == text.str.len_chars()
    return pl.coalesce(pl.when(~is_ascii).then(text).str.normalize("NFKC"), text)


def found_in(texts: pl.Series, questions: pl.Series) -> pl.Series:
    """Whether each of the (normalised) texts stands inside one of the questions, which are normalised here."""
    asked = _normalised(questions)
    patterns = _beginning_in(asked, texts)
    if patterns.is_empty():
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(texts))
    found = asked.str.extract_many(patterns.implode(), overlapping=True).explode().drop_nulls().unique()
    return texts.is_in(found.implode())


def contains_any(texts: pl.Series, avoided: pl.Series) -> pl.Series:
    """Whether each of the (normalised) texts contains one of the texts to avoid, which are normalised here."""
    patterns = _beginning_in(texts, _normalised(avoided))
    if patterns.is_empty():
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(texts))
    return texts.str.contains_any(patterns.implode())


def _normalised(texts: pl.Series) -> pl.Series:
    return texts.to_frame("text").select(normalised(pl.col("text")))["text"]


def _beginning_in(others: pl.Series, texts: pl.Series) -> pl.Series:
    """The texts, long enough and each once, less many of those whose beginning stands nowhere in the others."""
    patterns = texts.filter(texts.str.len_chars() >= SHORTEST_OVERLAP).unique(maintain_order=True)
    if len(patterns) <= _FEW:
        return patterns
    begins = np.concatenate(
        [
            _hashes(_characters(part.str.slice(0, SHORTEST_OVERLAP)), step=SHORTEST_OVERLAP)
            for part in _parts(patterns, _BEGINNINGS_AT_A_TIME)
        ]
    )
    # Most stretches fall into a slot that no beginning fell into, and need no further look.
    taken = np.zeros(2**26, dtype=bool)
    taken[begins >> _SLOT] = True
    stretches = [np.zeros(0, dtype=np.uint64)]
    for part in _parts(others, _AT_A_TIME):
        hashes = _hashes(_characters(part), step=1)
        stretches.append(hashes[taken[hashes >> _SLOT]])
    return patterns.filter(pl.Series(np.isin(begins, np.concatenate(stretches))))


def _parts(texts: pl.Series, length: int) -> Iterator[pl.Series]:
    return (texts.slice(start, length) for start in range(0, len(texts), length))


def _characters(texts: pl.Series) -> NDArray[np.uint64]:
    """All characters of the texts, one text after another."""
    joined = "".join(texts.to_list())
    return np.frombuffer(joined.encode("utf-32-le"), dtype="<u4").astype(np.uint64)


def _hashes(characters: NDArray[np.uint64], step: int) -> NDArray[np.uint64]:
    """A hash of each stretch of `SHORTEST_OVERLAP` characters that begins at every `step`th one."""
    ends = len(characters) - SHORTEST_OVERLAP + 1
    hashes = np.zeros(max(-(-ends // step), 0), dtype=np.uint64)
    for offset in range(SHORTEST_OVERLAP if len(hashes) else 0):
        hashes = hashes * _BASE + characters[offset : offset + ends : step]
    return hashes
