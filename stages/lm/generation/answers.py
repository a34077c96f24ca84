"""Free-text answers to questions: decoded greedily, and cut where the model ends its turn."""

import hashlib
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.core.errors import QuestionError, named
from stages.core.iteration import batched
from stages.core.shared_types import Advance
from stages.lm.generation.greedy import STRIDE, Prompt, generate
from stages.lm.scoring.cache import BatchResult
from stages.lm.scoring.questions import Question
from stages.lm.scoring.scorer import Scorer
from stages.lm.tokens.prompt_formats import Prompts


def generate_answers(
    scorer: Scorer, prompts: Prompts, questions: Iterable[Question], max_new_tokens: int, advance: Advance
) -> list[str]:
    """The answer to each question, of at most `max_new_tokens` tokens; the question's choices are not used.

    An answer ends with the model's end token, or where another turn would begin. With several processes, all of them
    pass the same questions.

    Raises:
        QuestionError: a question leaves no room for an answer; the message names it.
    """
    max_prompt_tokens = scorer.decoder.config.max_positions - max_new_tokens
    end = AnswerEnd(prompts)
    began, tokens = time.monotonic(), 0

    def compute(missing: Sequence[Prompt]) -> Iterator[BatchResult]:
        nonlocal tokens
        for batch in generate(scorer.decoder, missing, max_new_tokens, scorer.dtype, scorer.mesh):
            ids = [np.array(end.cut(generated[:max_new_tokens]), np.int32) for generated in batch.ids]
            tokens += sum(map(len, ids))
            yield BatchResult(batch.prompts, ids, f"{tokens / (time.monotonic() - began):,.0f} tokens/s")

    answers: list[np.ndarray] = []
    for chunk in batched(questions, scorer.chunk_size):
        requests = [Prompt(_prompt_ids(prompts, question, max_prompt_tokens), end.is_reached) for question in chunk]
        keys = [_key(request, prompts, max_new_tokens) for request in requests]
        answers += scorer.cache.get_or_compute(keys, requests, compute, advance)
    return [end.text(ids.tolist()) for ids in answers]


def _prompt_ids(prompts: Prompts, question: Question, max_tokens: int) -> tuple[int, ...]:
    with named(question.name):
        text = prompts.text(question.turns, question.answer_prefix, question.shared_prefix)
        ids = tuple(prompts.tokenizer.encode(text).ids)
        if len(ids) > max_tokens:
            raise QuestionError(
                f"it has {len(ids)} tokens, and the model's window leaves room for {max_tokens} and an answer"
            )
    return ids


def _key(request: Prompt, prompts: Prompts, max_new_tokens: int) -> bytes:
    """A hash of the request and of what ends its answer: its key in the answer cache."""
    content = f"generated {request.ids} {max_new_tokens} {prompts.stops} {prompts.end_token}"
    return hashlib.blake2b(content.encode(), digest_size=16).digest()


@dataclass(frozen=True)
class AnswerEnd:
    """Where an answer ends: at the end token, or at the first token that completes one of the stop texts."""

    prompts: Prompts

    def is_reached(self, ids: Sequence[int]) -> bool:
        """Whether the last STRIDE tokens ended the answer; decodes only these and the few that a stop may span."""
        span = max((len(stop.encode()) for stop in self.prompts.stops), default=0)
        tail = ids[-STRIDE - span :]
        return self.prompts.end_token in tail or self._has_stop(tail)

    def cut(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids up to the one that ends the answer.

        Bisection finds it, since a text that contains a stop still does so when tokens follow.
        """
        if self.prompts.end_token in ids:
            ids = ids[: ids.index(self.prompts.end_token) + 1]
        if not self._has_stop(ids):
            return ids
        lengths = range(1, len(ids) + 1)
        return ids[: lengths[bisect_left(lengths, True, key=lambda length: self._has_stop(ids[:length]))]]

    def text(self, ids: Sequence[int]) -> str:
        """The answer that the ids decode to, without the stop and without spaces around it."""
        text = self.prompts.tokenizer.decode(ids)
        starts = [text.index(stop) for stop in self.prompts.stops if stop in text]
        return text[: min(starts, default=len(text))].strip()

    def _has_stop(self, ids: Sequence[int]) -> bool:
        text = self.prompts.tokenizer.decode(ids) if self.prompts.stops else ""
        return any(stop in text for stop in self.prompts.stops)
