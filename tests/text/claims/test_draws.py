"""Seeded draws: a row's depend only on its id, and are uniform and independent between words, seeds and purposes."""

import hashlib
from itertools import combinations

import numpy as np
import pytest

from stages.text.claims.draws import WORDS, below, draw, uniform

MANY = [f"row {number}" for number in range(4_000)]
STANDARD_ERROR = 0.5 / np.sqrt(len(MANY))


def test_a_word_is_eight_bytes_of_a_hash() -> None:
    digest = hashlib.blake2b(b"7\0dice\0row 3").digest()
    expected = [int.from_bytes(digest[8 * word : 8 * word + 8], "little") for word in range(WORDS)]
    assert draw(7, "dice", ["row 3"]).tolist() == [expected]


def test_a_rows_draw_depends_on_nothing_but_its_name() -> None:
    table = dict(zip(MANY[:50], draw(1, "dice", MANY[:50]).tolist(), strict=True))
    other = [*reversed(MANY[10:20]), "a row more", "row ö"]
    assert [table[name] for name in other[:10]] == draw(1, "dice", other).tolist()[:10]


def test_no_rows_make_no_draws() -> None:
    assert draw(1, "dice", []).shape == (0, WORDS)
    assert uniform("salt", []).shape == (0,)


def test_words_seeds_and_purposes_are_fair_and_independent_coins() -> None:
    streams = [*draw(1, "dice", MANY).T, draw(2, "dice", MANY)[:, 0], draw(1, "cards", MANY)[:, 0]]
    coins = [words % np.uint64(2) == 0 for words in streams]
    assert all(abs(coin.mean() - 0.5) < 4 * STANDARD_ERROR for coin in coins)
    assert all(abs((one == other).mean() - 0.5) < 4 * STANDARD_ERROR for one, other in combinations(coins, 2))


@pytest.mark.parametrize("bound", [1, 2, 7, 61, 10_000])
def test_below_stays_below_and_is_uniform(bound: int) -> None:
    values = below(draw(1, "dice", MANY)[:, 3], bound)
    assert values.min() >= 0
    assert values.max() < bound
    assert abs(values.mean() - (bound - 1) / 2) <= 4 * bound / np.sqrt(12 * len(MANY))


def test_uniform_is_uniform_and_the_draw_of_seed_0() -> None:
    values = uniform("salt", MANY)
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert abs(values.mean() - 0.5) < 4 / np.sqrt(12 * len(MANY))
    assert values[5] == int(draw(0, "salt", [MANY[5]])[0, 0]) / 2**64
    assert not np.array_equal(values, uniform("pepper", MANY))
