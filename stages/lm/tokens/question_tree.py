"""Encodes a multiple-choice question as one token tree: the prompt once, and a branch for each choice."""

from collections.abc import Sequence
from dataclasses import replace

from tokenizers import Tokenizer

from stages.core.errors import QuestionError
from stages.lm.tokens.continuation import PromptCompletion, encode_pairs
from stages.lm.tokens.trees import TokenTree, token_tree

# A shared prefix of at least this many tokens is computed once; a shorter one is cheap to compute for each question.
MIN_SHARED_TOKENS = 128


def encode_question(
    tokenizer: Tokenizer, prompt: str, choices: Sequence[str], max_positions: int, shared_prefix: str = ""
) -> TokenTree:
    """The tree of a question, with the number of its tokens that belong to the shared prefix.

    Raises:
        QuestionError: it has no choices, equal or empty ones, or is longer than the model's window.
    """
    sequences = list(encode_pairs(tokenizer, [(prompt, choice) for choice in choices]))
    return question_tree(sequences, max_positions, tokenizer.encode(shared_prefix).ids)


def question_tree(sequences: Sequence[PromptCompletion], max_positions: int, prefix_ids: Sequence[int]) -> TokenTree:
    """The tree of a question's choices, each a completion of its prompt; `prefix_ids` are those of the shared prefix.

    Raises:
        QuestionError: as in `encode_question`.
    """
    if not sequences:
        raise QuestionError("it has no choices")
    if len({sequence.ids for sequence in sequences}) < len(sequences):
        raise QuestionError("two choices are the same")
    tree = token_tree(sequences)
    if max(tree.positions) >= max_positions:
        raise QuestionError(f"it has {max(tree.positions) + 1} tokens, more than the model's window of {max_positions}")
    prefix_len = _common_prefix_len(prefix_ids, sequences[0])
    return replace(tree, prefix_len=prefix_len if prefix_len >= MIN_SHARED_TOKENS else 0)


def _common_prefix_len(prefix_ids: Sequence[int], sequence: PromptCompletion) -> int:
    """How many leading tokens of the prompt, without its last one, equal those of the shared prefix."""
    prompt_ids = sequence.ids[: sequence.prompt_len - 1]
    pairs = zip(prefix_ids, prompt_ids, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(prefix_ids), sequence.prompt_len - 1))
