"""Multiple-choice questions as text: rendered with a prompt format, tokenised, and scored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice

import numpy as np

from stages.core.errors import named
from stages.core.iteration import batched
from stages.core.shared_types import Advance
from stages.lm.scoring.scorer import Scorer, score_all
from stages.lm.tokens.continuation import encode_pairs
from stages.lm.tokens.plain_format import Turn
from stages.lm.tokens.prompt_formats import Prompts
from stages.lm.tokens.question_tree import question_tree
from stages.lm.tokens.trees import TokenTree

# Questions that are rendered and then tokenised together.
RENDER_BATCH = 1_024


@dataclass(frozen=True)
class Question:
    """A multiple-choice question with the fields of the tables; error messages refer to it by `name`."""

    name: str
    turns: Sequence[Turn]
    answer_prefix: str
    choices: Sequence[str]
    shared_prefix: str = ""


def score_questions(
    scorer: Scorer, prompts: Prompts, questions: Iterable[Question], advance: Advance
) -> Iterator[np.ndarray]:
    """Yields each question's log-probabilities, [choices] float32, in the order of the questions, like `score_all`.

    Raises:
        QuestionError: a question cannot be scored; the message names it.
    """
    return score_all(scorer, _trees(prompts, questions, scorer.decoder.config.max_positions), advance)


def _trees(prompts: Prompts, questions: Iterable[Question], max_positions: int) -> Iterator[TokenTree]:
    # Questions of a task follow one another, so a few cached prefixes save tokenising a long one for each question.
    prefix_ids = lru_cache(maxsize=8)(lambda text: tuple(prompts.tokenizer.encode(text).ids))
    for batch in batched(questions, RENDER_BATCH):
        pairs_by_question = [_prompt_choice_pairs(prompts, question) for question in batch]
        sequences = encode_pairs(prompts.tokenizer, chain.from_iterable(pairs_by_question))
        for question, pairs in zip(batch, pairs_by_question, strict=True):
            with named(question.name):
                choice_sequences = list(islice(sequences, len(pairs)))
                tree = question_tree(choice_sequences, max_positions, prefix_ids(question.shared_prefix))
            yield tree


def _prompt_choice_pairs(prompts: Prompts, question: Question) -> list[tuple[str, str]]:
    """The rendered prompt paired with each of the choices."""
    with named(question.name):
        prompt = prompts.text(question.turns, question.answer_prefix, question.shared_prefix)
    return [(prompt, prompts.continuation(question.answer_prefix, choice)) for choice in question.choices]
