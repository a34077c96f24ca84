"""Text to token ids, by the model folder's tokenizer.json."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

from stages.core.errors import QuestionError
from stages.core.iteration import batched

# Texts that are read at once, and held with all that the tokenizer says of them.
ENCODE_BATCH = 1_024


@dataclass(frozen=True)
class PromptCompletion:
    """A prompt and its continuation, tokenised together: `ids[start:]` hold any of the continuation."""

    ids: tuple[int, ...]
    prompt_len: int


def encode_pairs(tokenizer: Tokenizer, pairs: Iterable[tuple[str, str]]) -> Iterator[PromptCompletion]:
    """Each prompt and its continuation as one text; special tokens as the tokenizer's own post-processor adds them.

    A token that straddles the boundary counts as the continuation's. The end of the continuation is the end of the
    ids: what a post-processor adds after the text is cut. Many texts are read at once, each on one of the cores.

    Raises:
        QuestionError: at its pair: a continuation is empty, or nothing stands before it to predict it from.
    """
    for lot in batched(pairs, ENCODE_BATCH):
        encodings = tokenizer.encode_batch([prompt + continuation for prompt, continuation in lot])
        for encoding, pair in zip(encodings, lot, strict=True):
            yield _continued(encoding, *pair)


def _continued(encoding: Encoding, prompt: str, continuation: str) -> PromptCompletion:
    if not continuation:
        raise QuestionError("a choice is empty")
    boundary, end = len(prompt), len(prompt) + len(continuation)
    spans = encoding.offsets
    start = next(index for index, (_, stop) in enumerate(spans) if stop > boundary)
    stop = max(index for index, (_, stop) in enumerate(spans) if stop == end) + 1
    if start == 0:
        raise QuestionError("the prompt is empty, and nothing predicts the first token of a choice")
    return PromptCompletion(tuple(encoding.ids[:stop]), start)


def leading_special_tokens(tokenizer: Tokenizer, text: str) -> int:
    """How many tokens the post-processor puts before a text."""
    return next(index for index, special in enumerate(tokenizer.encode(text).special_tokens_mask) if not special)
