"""Tokenised training examples: which tokens are trained on, which are cut, and which examples are refused."""

import dataclasses

import pytest

from stages.core.errors import ModelError, QuestionError
from stages.lm.io.load import LanguageModel
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.plain_format import Turn, plain
from stages.lm.tokens.prompt_formats import plain_prompts
from stages.lm.training.examples import TrainingText, encode_examples
from tests.helpers.tiny_model import TinyModel

SHORT = TrainingText("short", [{"role": "user", "text": "no"}], "It is", " (A)")


@pytest.fixture(scope="module")
def model(tiny: TinyModel) -> LanguageModel:
    return tiny()


def with_text(text: str, target: str = " (A)") -> TrainingText:
    return TrainingText(f"row {len(text)}", [{"role": "user", "text": text}], "", target)


def prompt_and_target(model: LanguageModel, example: PromptCompletion) -> tuple[list[str], list[str]]:
    """The tokens of the prompt, and those that are trained on."""
    tokens = [str(model.tokenizer.id_to_token(index)) for index in example.ids]
    return tokens[: example.prompt_len], tokens[example.prompt_len :]


def test_the_target_and_the_end_token_are_trained_on(model: LanguageModel) -> None:
    [example], cut = encode_examples(plain_prompts(model), [SHORT], 64, cut_long=False)
    prompt, trained = prompt_and_target(model, example)
    assert cut == 0
    assert prompt == [*"Human:", "Ġ", "no", "Ċ", "Ċ", *"As", *"s", "is", *"tant:", "Ġ", *"It", "Ġis"]
    assert trained == ["Ġ(", "A", ")", "<|end|>"]


def test_a_conversation_is_read_up_to_its_last_answer(model: LanguageModel) -> None:
    turns: list[Turn] = [
        {"role": "user", "text": "is"},
        {"role": "assistant", "text": "no"},
        {"role": "user", "text": "a"},
    ]
    [example], _ = encode_examples(plain_prompts(model), [TrainingText("row", turns, "", " b")], 96, cut_long=False)
    ids = list(example.ids)
    assert model.tokenizer.decode(ids[: example.prompt_len]) == plain(turns, "")
    assert model.tokenizer.decode(ids[example.prompt_len :], skip_special_tokens=False) == " b<|end|>"


def test_a_token_that_holds_a_part_of_the_target_is_trained_on(model: LanguageModel) -> None:
    text = TrainingText("row", SHORT.turns, "I say n", "o")
    [example], _ = encode_examples(plain_prompts(model), [text], 64, cut_long=False)
    assert prompt_and_target(model, example)[1] == ["no", "<|end|>"]


def test_the_end_token_is_the_first_that_config_json_names(tiny: TinyModel) -> None:
    [example], _ = encode_examples(plain_prompts(tiny(eos_token_id=[7, 1])), [SHORT], 64, cut_long=False)
    assert example.ids[-1] == 7


def test_a_long_example_loses_the_beginning_of_its_prompt(model: LanguageModel) -> None:
    texts = [with_text("so " * 20), with_text("a"), with_text("to " * 30, " (A) and more")]
    uncut, uncut_count = encode_examples(plain_prompts(model), texts, 200, cut_long=True)
    examples, cut_count = encode_examples(plain_prompts(model), texts, 40, cut_long=True)
    assert (uncut_count, cut_count) == (0, 2)
    for before, after in zip(uncut, examples, strict=True):
        assert after.ids == before.ids[-40:]
        assert after.ids[after.prompt_len :] == before.ids[before.prompt_len :]
    assert [len(example.ids) for example in examples] == [40, len(uncut[1].ids), 40]


def test_a_target_needs_one_token_before_it(model: LanguageModel) -> None:
    """Four target tokens fit into five, not into four."""
    [example], cut = encode_examples(plain_prompts(model), [SHORT], 5, cut_long=True)
    assert (prompt_and_target(model, example), cut) == ((["Ġis"], ["Ġ(", "A", ")", "<|end|>"]), 1)
    with pytest.raises(QuestionError, match=r"short: its target alone fills finetune\.max_tokens \(4\)"):
        encode_examples(plain_prompts(model), [SHORT], 4, cut_long=True)


def test_long_examples_are_counted_when_they_are_refused(model: LanguageModel) -> None:
    texts = [with_text("so " * 20), with_text("a"), with_text("to " * 30)]
    longest = max(len(example.ids) for example in encode_examples(plain_prompts(model), texts, 200, cut_long=False)[0])
    with pytest.raises(QuestionError) as caught:
        encode_examples(plain_prompts(model), texts, 40, cut_long=False)
    message = str(caught.value)
    assert message.startswith(f"2 of 3 examples are longer than finetune.max_tokens (40; the longest has {longest}); ")
    assert "finetune.overlength=cut" in message and "\n" not in message


def test_an_example_of_exactly_the_limit_is_not_cut(model: LanguageModel) -> None:
    [example], _ = encode_examples(plain_prompts(model), [SHORT], 64, cut_long=False)
    assert encode_examples(plain_prompts(model), [SHORT], len(example.ids), cut_long=False) == ([example], 0)


def test_a_problem_is_reported_under_its_row(model: LanguageModel) -> None:
    with pytest.raises(QuestionError, match="^row 1: a choice is empty"):
        encode_examples(plain_prompts(model), [SHORT, with_text("a", "")], 64, cut_long=True)


def test_a_model_without_an_end_token_cannot_be_trained(model: LanguageModel) -> None:
    endless = dataclasses.replace(model, config=dataclasses.replace(model.config, end_token=None))
    with pytest.raises(ModelError, match=r"config\.json has no eos_token_id"):
        encode_examples(plain_prompts(endless), [SHORT], 64, cut_long=True)
