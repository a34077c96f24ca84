"""Training examples: rendered with a prompt format, tokenised, and split into a prompt and a target to train on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.core.errors import ModelError, QuestionError, named
from stages.lm.tokens.continuation import PromptCompletion, encode_pairs
from stages.lm.tokens.plain_format import Turn
from stages.lm.tokens.prompt_formats import Prompts


@dataclass(frozen=True)
class TrainingText:
    """A training example as text; error messages refer to it by `name`."""

    name: str
    turns: Sequence[Turn]
    answer_prefix: str
    target: str


def encode_examples(
    prompts: Prompts, texts: Sequence[TrainingText], max_tokens: int, cut_long: bool
) -> tuple[list[PromptCompletion], int]:
    """Tokenised examples, each target followed by the end token, and how many of them were cut.

    A long example loses the beginning of its prompt, never any of its target.

    Raises:
        QuestionError: an example is longer than `max_tokens` and `cut_long` is false, or its target alone is too long.
    """
    end_token = _end_token(prompts)
    sequences = encode_pairs(prompts.tokenizer, [_prompt_and_target(prompts, text) for text in texts])
    examples = [_example(text, sequences, end_token) for text in texts]
    overlong = sum(len(example.ids) > max_tokens for example in examples)
    if overlong and not cut_long:
        longest = max(len(example.ids) for example in examples)
        raise QuestionError(
            f"{overlong} of {len(examples)} examples are longer than finetune.max_tokens ({max_tokens}; the longest "
            f"has {longest}); raise it, lower clean.max_characters, or set finetune.overlength=cut"
        )
    return [_cut(text.name, example, max_tokens) for text, example in zip(texts, examples, strict=True)], overlong


def _prompt_and_target(prompts: Prompts, text: TrainingText) -> tuple[str, str]:
    with named(text.name):
        prompt = prompts.text(text.turns, text.answer_prefix, "")
    return prompt, prompts.continuation(text.answer_prefix, text.target)


def _example(text: TrainingText, sequences: Iterator[PromptCompletion], end_token: int) -> PromptCompletion:
    # The iterator tokenises lazily, so an error of it belongs to this text.
    with named(text.name):
        sequence = next(sequences)
    return PromptCompletion((*sequence.ids, end_token), sequence.prompt_len)


def _cut(name: str, example: PromptCompletion, max_tokens: int) -> PromptCompletion:
    excess = len(example.ids) - max_tokens
    if excess <= 0:
        return example
    if excess >= example.prompt_len:
        raise QuestionError(
            f"{name}: its target alone fills finetune.max_tokens ({max_tokens}); raise it, or drop the example"
        )
    return PromptCompletion(example.ids[excess:], example.prompt_len - excess)


def _end_token(prompts: Prompts) -> int:
    if prompts.end_token is None:
        raise ModelError("config.json has no eos_token_id; training needs one, as the token that ends an answer")
    return prompts.end_token
