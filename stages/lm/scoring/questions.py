"""Questions in words, asked of a model: rendered, tokenised and scored."""

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

# Questions whose texts are made before they are turned into tokens.
RENDER_BATCH = 1_024


@dataclass(frozen=True)
class Question:
    """A multiple-choice question as the tables hold it; `name` is what a problem with it is reported under."""

    name: str
    turns: Sequence[Turn]
    answer_prefix: str
    choices: Sequence[str]
    shared_prefix: str = ""


def score_questions(
    scorer: Scorer, prompts: Prompts, questions: Iterable[Question], advance: Advance
) -> Iterator[np.ndarray]:
    """Each question's log-probabilities, [choices] float32, in the order of the questions, as `score_all` gives them.

    Raises:
        QuestionError: a question cannot be scored; the message names it.
    """
    return score_all(scorer, _trees(prompts, questions, scorer.decoder.config.max_positions), advance)


def _trees(prompts: Prompts, questions: Iterable[Question], max_positions: int) -> Iterator[TokenTree]:
    # Questions of a task come one after another, and their long prefix need not be read for each.
    beginning_of = lru_cache(maxsize=8)(lambda text: tuple(prompts.tokenizer.encode(text).ids))
    for lot in batched(questions, RENDER_BATCH):
        texts = [_texts(prompts, question) for question in lot]
        sequences = encode_pairs(prompts.tokenizer, chain.from_iterable(texts))
        for question, pairs in zip(lot, texts, strict=True):
            with named(question.name):
                own = list(islice(sequences, len(pairs)))
                tree = question_tree(own, max_positions, beginning_of(question.shared_prefix))
            yield tree


def _texts(prompts: Prompts, question: Question) -> list[tuple[str, str]]:
    """The prompt with each of the choices."""
    with named(question.name):
        prompt = prompts.text(question.turns, question.answer_prefix, question.shared_prefix)
    return [(prompt, prompts.continuation(question.answer_prefix, choice)) for choice in question.choices]
