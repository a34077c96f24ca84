"""Tokenises prompts with their continuations, and finds where each continuation begins."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

from stages.core.errors import QuestionError
from stages.core.iteration import batched

# How many texts are tokenised, and in memory with their encodings, at a time.
ENCODE_BATCH = 1_024


@dataclass(frozen=True)
class PromptCompletion:
    """A prompt and its continuation, tokenised as one text: `ids[prompt_len:]` belong to the continuation."""

    ids: tuple[int, ...]
    prompt_len: int


def encode_pairs(tokenizer: Tokenizer, pairs: Iterable[tuple[str, str]]) -> Iterator[PromptCompletion]:
    """Tokenises each prompt with its continuation as one text, with the special tokens of the post-processor.

    A token across the boundary belongs to the continuation. The ids end with the continuation: special tokens that the
    post-processor adds after the text are dropped. Texts are tokenised in batches, in parallel on all cores.

    Raises:
        QuestionError: when its pair is reached: a continuation is empty, or no token before it can predict it.
    """
    for batch in batched(pairs, ENCODE_BATCH):
        encodings = tokenizer.encode_batch([prompt + continuation for prompt, continuation in batch])
        for encoding, pair in zip(encodings, batch, strict=True):
            yield _split_encoding(encoding, *pair)


def _split_encoding(encoding: Encoding, prompt: str, continuation: str) -> PromptCompletion:
    if not continuation:
        raise QuestionError("a choice is empty")
    boundary, end = len(prompt), len(prompt) + len(continuation)
    spans = encoding.offsets
    start = next(index for index, (_, stop) in enumerate(spans) if stop > boundary)
    stop = max(index for index, (_, stop) in enumerate(spans) if stop == end) + 1
    if start == 0:
        raise QuestionError("the prompt is empty, so no token predicts the first token of a choice")
    return PromptCompletion(tuple(encoding.ids[:stop]), start)


def leading_special_tokens(tokenizer: Tokenizer, text: str) -> int:
    """The number of special tokens that the post-processor puts before a text."""
    return next(index for index, special in enumerate(tokenizer.encode(text).special_tokens_mask) if not special)
