"""Questions in words, asked of a model: rendered, tokenised and scored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.lm.conversation import Turn
from stages.lm.errors import named
from stages.lm.formats import Prompts
from stages.lm.scores import Advance, Scorer, score_all
from stages.lm.scoring import encode
from stages.lm.trees import TokenTree


@dataclass(frozen=True)
class Question:
    """A multiple-choice question as the tables hold it; `name` is what a problem with it is reported under."""

    name: str
    turns: Sequence[Turn]
    answer_prefix: str
    choices: Sequence[str]
    shared_prefix: str = ""


def ask(scorer: Scorer, prompts: Prompts, questions: Iterable[Question], advance: Advance) -> Iterator[np.ndarray]:
    """Each question's log-probabilities, [choices] float32, in the order of the questions, as `score_all` gives them.

    Raises:
        QuestionError: a question cannot be scored; the message names it.
    """
    window = scorer.decoder.config.max_positions
    return score_all(scorer, (_tree(prompts, question, window) for question in questions), advance)


def _tree(prompts: Prompts, question: Question, max_positions: int) -> TokenTree:
    with named(question.name):
        prompt = prompts.text(question.turns, question.answer_prefix, question.shared_prefix)
        choices = [prompts.continuation(question.answer_prefix, choice) for choice in question.choices]
        return encode(prompts.tokenizer, prompt, choices, max_positions, question.shared_prefix)
