"""Seeded random numbers that depend only on a row's id, not on its position or on the other rows.

A hash serves as a counter-based generator: adding a data set or reordering a list changes no other row's numbers.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

WORDS = 8

# The split into training and held-out examples must not depend on the seed: a model that was trained with one seed may
# be evaluated with another.
SPLIT_SALT = "candor held out"


def draw(seed: int, purpose: str, identities: Iterable[str]) -> NDArray[np.uint64]:
    """Independent uniform 64-bit words, [rows, WORDS], a row for each identity."""
    salt = f"{seed}\0{purpose}\0"
    digests = b"".join(hashlib.blake2b((salt + identity).encode()).digest() for identity in identities)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, WORDS)


def below(words: NDArray[np.uint64], bound: int) -> NDArray[np.int64]:
    """Uniform integers 0..bound-1 from 64-bit words (the modulo bias is below bound / 2**64)."""
    return (words % np.uint64(bound)).astype(np.int64)


def uniform(salt: str, identities: Iterable[str]) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), one for each identity, the same for every seed."""
    return draw(0, salt, identities)[:, 0].astype(np.float64) / 2.0**64
