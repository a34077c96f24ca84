"""Generated answers: cut where the model ends its turn, cached, and the same in any batch."""

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
import pytest

from stages.core.errors import QuestionError
from stages.lm.generation.answers import generate_answers
from stages.lm.io.load import LanguageModel
from stages.lm.nn.sharding import device_mesh
from stages.lm.scoring.cache import AnswerCache
from stages.lm.scoring.questions import Question
from stages.lm.scoring.scorer import Scorer
from stages.lm.tokens.prompt_formats import Prompts, plain_prompts
from tests.helpers.scoring import Memory, silent
from tests.helpers.tiny_model import TinyModel

pytestmark = pytest.mark.usefixtures("exact", "lightly_compiled")


QUESTIONS = [
    Question(f"row {number}", [{"role": "user", "text": text}], "", [" 7"])
    for number, text in enumerate(("What is it?", "Is it so? " * 3, "How many?"))
]


@pytest.fixture(scope="module")
def model(tiny: TinyModel) -> LanguageModel:
    return tiny(seed=8)


def answers(
    model: LanguageModel, prompts: Prompts, questions: Sequence[Question] = QUESTIONS, memory: Memory | None = None
) -> list[str]:
    scorer = Scorer(model.decoder, device_mesh(), jnp.dtype("float32"), AnswerCache(memory or Memory()))
    return generate_answers(scorer, prompts, questions, 24, silent)


def test_an_answer_ends_at_a_stop_text(model: LanguageModel) -> None:
    """The stop text occurs in the first answer; the others reach the limit."""
    prompts = replace(plain_prompts(model), stops=(), end_token=None)
    full = answers(model, prompts)
    assert len(set(full)) == 3 and all(len(text) > 12 for text in full)
    stop = full[0][5:8]
    assert [stop in text for text in full] == [True, False, False]
    cut = answers(model, replace(prompts, stops=("never", stop)))
    assert cut == [full[0][: full[0].index(stop)].strip(), *full[1:]]


def test_an_answer_ends_with_the_end_token(model: LanguageModel) -> None:
    prompts = replace(plain_prompts(model), stops=(), end_token=None)
    memory = Memory()
    [full] = answers(model, prompts, QUESTIONS[:1], memory)
    [stored] = memory.scores.values()
    ids = [int(number) for number in stored]
    [cut] = answers(model, replace(prompts, end_token=ids[9]), QUESTIONS[:1])
    before = ids[: ids.index(ids[9]) + 1]
    assert cut == model.tokenizer.decode(before).strip() and full.startswith(cut) and cut != full


def test_a_batch_changes_no_answer_and_cached_answers_are_not_generated_again(model: LanguageModel) -> None:
    prompts, memory = plain_prompts(model), Memory()
    expected = answers(model, prompts, memory=memory)
    assert len(memory.scores) == 3
    assert [answers(model, prompts, [question])[0] for question in QUESTIONS] == expected
    notes: list[str] = []
    scorer = Scorer(model.decoder, device_mesh(), jnp.dtype("float32"), AnswerCache(memory))
    again = generate_answers(scorer, prompts, QUESTIONS[::-1], 24, lambda amount, note: notes.append(note))
    assert again == expected[::-1]
    assert notes == ["from the cache"]


def test_an_error_names_the_question_that_leaves_no_room_for_an_answer(model: LanguageModel) -> None:
    long = Question("row 9", [{"role": "user", "text": "so " * 60}], "", [" 7"])
    with pytest.raises(QuestionError, match=r"^row 9: it has \d+ tokens, and the model's window leaves room for 104"):
        answers(model, plain_prompts(model), [*QUESTIONS, long])
