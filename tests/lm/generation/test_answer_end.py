"""Where an answer ends: what a search through every prefix finds, found with few and short decodings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from stages.lm.generation.answers import AnswerEnd
from stages.lm.generation.greedy import STRIDE
from stages.lm.tokens.plain_format import plain
from stages.lm.tokens.prompt_formats import Prompts
from tests.helpers.tiny_model import TinyModel


def end_of(tokenizer: Any, stops: tuple[str, ...], end_token: int | None) -> AnswerEnd:
    return AnswerEnd(Prompts(plain, tokenizer, end_token, stops, is_chat=False))


def by_search(end: AnswerEnd, ids: Sequence[int]) -> list[int]:
    """The shortest prefix that holds the end token or decodes to a text with a stop; all ids if there is none."""
    for length in range(1, len(ids) + 1):
        text = end.prompts.tokenizer.decode(ids[:length])
        if end.prompts.end_token in ids[:length] or any(stop in text for stop in end.prompts.stops):
            return [*ids[:length]]
    return [*ids]


@pytest.mark.parametrize("seed", range(40))
def test_the_end_is_that_of_a_search_through_every_prefix(tiny: TinyModel, seed: int) -> None:
    """Random tokens, many of them parts of characters; the stop is a piece of their own text."""
    tokenizer, draw = tiny(seed=8).tokenizer, np.random.default_rng(seed)
    ids = draw.integers(0, tokenizer.get_vocab_size(), 60).tolist()
    # No stop has the mark of an incomplete character, which a following token may complete.
    pieces = [piece for piece in tokenizer.decode(ids).split("\ufffd") if len(piece) > 1]
    piece = pieces[int(draw.integers(0, len(pieces)))]
    stops = (piece[: int(draw.integers(1, 4))], "never there")
    for end_token in (None, ids[int(draw.integers(0, 60))]):
        end = end_of(tokenizer, stops, end_token)
        assert [*end.cut(ids)] == by_search(end, ids)


def test_short_texts_are_decoded_and_few(tiny: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stride is checked by its last tokens alone, and the end of a thousand tokens is found by bisection."""
    tokenizer, decoded = tiny(seed=8).tokenizer, list[int]()
    has_stop = AnswerEnd._has_stop

    def counted(end: AnswerEnd, ids: Sequence[int]) -> bool:
        decoded.append(len(ids))
        return has_stop(end, ids)

    monkeypatch.setattr(AnswerEnd, "_has_stop", counted)
    stop = "\n\nHuman:"
    end = end_of(tokenizer, (stop,), None)
    ids = tokenizer.encode("x" * 1_000 + stop).ids
    assert not any(end.is_reached(ids[:length]) for length in range(STRIDE, len(ids) - 1, STRIDE))
    assert end.is_reached(ids)
    assert max(decoded) == STRIDE + len(stop)
    decoded.clear()
    assert end.text(end.cut([*ids, *ids])) == "x" * 1_000
    assert len(decoded) < 15


def test_the_end_token_ends_an_answer_before_a_stop_does(tiny: TinyModel) -> None:
    tokenizer = tiny(seed=8).tokenizer
    say, stop = (tokenizer.encode(text).ids for text in ("say", "stop"))
    end = end_of(tokenizer, ("stop",), 1)
    assert [*end.cut([*say, 1, *stop])] == [*say, 1]
    assert end.is_reached([*say, 1])
    assert end.text(end.cut(tokenizer.encode(" so it stops").ids)) == "so it"
