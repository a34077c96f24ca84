"""Overlaps, compared with the brute-force search for every text in every other."""

import random

import polars as pl
import pytest

from stages.text.claims import overlaps
from stages.text.claims.overlaps import SHORTEST_OVERLAP, contains_any, normalised, occurs_in

WORDS = ("birch", "öl", "日本🌳")


def texts(seed: int, count: int, words: int) -> pl.Series:
    choice = random.Random(seed).choice
    return pl.Series([" ".join(choice(WORDS) for _ in range(choice(range(words)))) for _ in range(count)])


@pytest.mark.parametrize("few", [0, 5_000])
def test_the_search_agrees_with_brute_force(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaps, "_MAX_UNFILTERED", few)
    monkeypatch.setattr(overlaps, "_TEXTS_PER_BATCH", 7)
    monkeypatch.setattr(overlaps, "_BEGINNINGS_PER_BATCH", 11)
    short, long = texts(1, 300, 8), texts(2, 40, 60)
    occurs = occurs_in(short, long)
    assert occurs.to_list() == [
        len(text) >= SHORTEST_OVERLAP and any(text in other for other in long) for text in short
    ]
    assert 10 < occurs.sum() < 290
    avoided = short.filter(short.str.len_chars() >= SHORTEST_OVERLAP)
    assert contains_any(long, short).to_list() == [any(text in other for text in avoided) for other in long]


@pytest.mark.parametrize("others", [[], [""], ["short"]])
def test_nothing_is_found_in_nothing(others: list[str]) -> None:
    nothing = pl.Series(others, dtype=pl.String)
    assert occurs_in(texts(1, 3, 30), nothing).to_list() == [False] * 3
    assert contains_any(nothing, texts(1, 3, 30)).to_list() == [False] * len(others)
    assert occurs_in(pl.Series([], dtype=pl.String), texts(1, 3, 30)).to_list() == []


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ('"Two  words"', "two words"),
        ("a\tb\n c\u00a0d \u2028 e", "a b c d e"),
        ("\ufb01ne \uff21 \u212b", "fine a å"),
        (' "Ünal" ', "ünal"),
        ("", ""),
        (None, None),
    ],
)
def test_texts_are_compared_without_case_spaces_and_compatibility_forms(text: str | None, normal: str | None) -> None:
    assert (
        pl.DataFrame({"text": [text]}, schema={"text": pl.String}).select(normalised(pl.col("text"))).item() == normal
    )
