"""Questions in words, asked of a model: rendered, tokenised and scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.lm.conversation import Turn, plain
from stages.lm.dtypes import Dtype, compute_dtype
from stages.lm.errors import named
from stages.lm.loading import LanguageModel
from stages.lm.scoring import Advance, encode, score
from stages.lm.trees import TokenTree


@dataclass(frozen=True)
class Question:
    """A multiple-choice question as the tables hold it; `name` is what a problem with it is reported under."""

    name: str
    turns: Sequence[Turn]
    answer_prefix: str
    choices: Sequence[str]
    shared_prefix: str = ""


def ask(model: LanguageModel, questions: Sequence[Question], dtype: Dtype, advance: Advance) -> list[np.ndarray]:
    """Each question's log-probabilities, [choices] float32, in the order of the questions.

    Raises:
        QuestionError: a question cannot be scored; the message names it.
    """
    trees = [_tree(model, question) for question in questions]
    return score(model.decoder, trees, compute_dtype(dtype), advance)


def _tree(model: LanguageModel, question: Question) -> TokenTree:
    with named(question.name):
        prompt = plain(question.turns, question.answer_prefix, question.shared_prefix)
        return encode(model.tokenizer, prompt, question.choices, model.config.max_positions)
