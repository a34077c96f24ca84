"""Answers in a model's own words: written greedily, and cut where the model ends its turn."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from stages.core.errors import QuestionError, named
from stages.lm.generation.greedy import Prompt, generate
from stages.lm.scoring.questions import Question
from stages.lm.scoring.scorer import Advance, BatchResult, Scorer, cached_map
from stages.lm.tokens.prompt_formats import Prompts


def generate_answers(
    scorer: Scorer, prompts: Prompts, questions: Iterable[Question], limit: int, advance: Advance
) -> list[str]:
    """The answer to each question, of at most `limit` tokens; its choices are not looked at.

    An answer ends with the model's end token, or where another turn would begin. Of several processes all ask the same.

    Raises:
        QuestionError: a question leaves no room for an answer; the message names it.
    """
    window = scorer.decoder.config.max_positions
    asked = (_prompt(prompts, question, window - limit) for question in questions)
    began, tokens = time.monotonic(), 0

    def run(asked: Sequence[Prompt]) -> Iterator[BatchResult]:
        nonlocal tokens
        for done in generate(scorer.decoder, asked, limit, scorer.dtype, scorer.mesh):
            ids = [np.array(_ended(prompts, found[:limit]), np.float32) for found in done.ids]
            tokens += sum(map(len, ids))
            yield done.prompts, ids, f"{tokens / (time.monotonic() - began):,.0f} tokens/s"

    # Kept as float32, as all that is kept: token ids are whole numbers that it holds exactly.
    found = cached_map(scorer, asked, lambda prompt: _key(prompt, prompts, limit), run, advance)
    return [_text(prompts, ids.astype(np.int64).tolist()) for ids in found]


def _prompt(prompts: Prompts, question: Question, room: int) -> Prompt:
    with named(question.name):
        text = prompts.text(question.turns, question.answer_prefix, question.shared_prefix)
        ids = tuple(prompts.tokenizer.encode(text).ids)
        if len(ids) > room:
            raise QuestionError(
                f"it has {len(ids)} tokens, and the model's window leaves room for {room} and an answer"
            )
        return Prompt(ids, lambda written: _is_ended(prompts, written))


def _key(prompt: Prompt, prompts: Prompts, limit: int) -> bytes:
    facts = f"written {prompt.ids} {limit} {prompts.stops} {prompts.end_token}"
    return hashlib.blake2b(facts.encode(), digest_size=16).digest()


def _is_ended(prompts: Prompts, ids: Sequence[int]) -> bool:
    text = prompts.tokenizer.decode(ids)
    return prompts.end_token in ids or any(stop in text for stop in prompts.stops)


def _ended(prompts: Prompts, ids: Sequence[int]) -> Sequence[int]:
    """The ids up to the first one with which the answer is at its end."""
    ends = (end for end in range(1, len(ids) + 1) if _is_ended(prompts, ids[:end]))
    return ids[: next(ends, len(ids))]


def _text(prompts: Prompts, ids: Sequence[int]) -> str:
    text = prompts.tokenizer.decode(ids)
    ends = [text.index(stop) for stop in prompts.stops if stop in text]
    return text[: min(ends, default=len(text))].strip()
