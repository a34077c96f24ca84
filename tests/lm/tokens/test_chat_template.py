"""Chat templates of model folders: rendering, tokenising without a second begin token, and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from stages.core.errors import ModelError, QuestionError
from stages.lm.io.load import open_model
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.sharding import device_mesh
from stages.lm.scoring.questions import Question, score_questions
from stages.lm.scoring.scorer import Scorer
from stages.lm.tokens.plain_format import Turn
from stages.lm.tokens.prompt_formats import Prompts, plain_prompts, prompts_of
from stages.lm.training.examples import TrainingText, encode_examples
from tests.helpers.tiny_model import TinyModel

# Similar to ChatML, with features that templates use: loops, whitespace control, special tokens, `break`.
TEMPLATE = """{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] not in ['user', 'assistant'] %}
        {{- raise_exception('only user and assistant speak') }}
    {%- endif %}
    {{- '[' + message['role'] + ']' + message['content'] | trim + eos_token + '\\n' }}
    {%- if loop.index > 8 %}{% break %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '[assistant]' }}
{%- endif %}"""

TURNS: list[Turn] = [
    {"role": "user", "text": "is it "},
    {"role": "assistant", "text": "no"},
    {"role": "user", "text": "so"},
]
TEXT = "<|begin|>[user]is it<|end|>\n[assistant]no<|end|>\n[user]so<|end|>\n[assistant]I say"


@pytest.fixture
def folder(tiny: TinyModel, tmp_path: Path) -> Path:
    tiny(seed=4, folder=tmp_path)
    configure(tmp_path, chat_template=TEMPLATE)
    return tmp_path


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer_config.json"
    keys = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(keys), encoding="utf-8")


def chat(folder: Path) -> Prompts:
    return prompts_of(folder, open_model(folder), "chat")


def test_the_template_renders_turns(folder: Path) -> None:
    prompts = chat(folder)
    assert prompts.text(TURNS, "I say", "") == TEXT
    assert prompts.text(TURNS, "", "Examples. ") == TEXT.replace("[user]is", "[user]Examples. is").removesuffix("I say")


@pytest.mark.parametrize(
    "changes",
    [
        {"chat_template": [{"name": "tools", "template": "no"}, {"name": "default", "template": TEMPLATE}]},
        {"bos_token": {"content": "<|begin|>", "lstrip": False}, "eos_token": {"content": "<|end|>", "lstrip": False}},
        {"add_bos_token": True, "pad_token": None},
    ],
)
def test_every_spelling_of_a_template_is_read(folder: Path, changes: dict[str, Any]) -> None:
    configure(folder, **changes)
    assert chat(folder).text(TURNS, "I say", "") == TEXT


def test_a_template_in_its_own_file_takes_precedence(folder: Path) -> None:
    configure(folder, chat_template="another")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    assert chat(folder).text(TURNS, "I say", "") == TEXT


def test_only_the_template_adds_special_tokens(folder: Path) -> None:
    model = open_model(folder)
    model.tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", 0)]
    )
    model.tokenizer.save(str(folder / "tokenizer.json"))
    prompts = chat(folder)
    assert prompts.tokenizer.encode(prompts.text(TURNS[:1], "", "")).tokens[:2] == ["<|begin|>", "["]
    assert plain_prompts(open_model(folder)).tokenizer.encode("so").tokens[0] == "<|begin|>"


def test_a_training_example_ends_like_an_answer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 7}), encoding="utf-8")
    prompts = chat(folder)
    [example], _ = encode_examples(prompts, [TrainingText("row", TURNS, "", " no")], 96, cut_long=False)
    tokens = [prompts.tokenizer.id_to_token(index) for index in example.ids]
    # At the start of a turn, an answer has no space before it.
    assert tokens[example.prompt_len - 1 :] == ["]", "no", "<|end|>"]
    configure(folder, chat_template="{{ messages[0]['content'] }}")
    assert chat(folder).end_token == 7, "a template without an end token leaves the one of config.json"


def test_questions_are_asked_in_the_template(folder: Path) -> None:
    model = open_model(folder)
    scorer = Scorer(model.decoder, device_mesh(), compute_dtype("float32"))
    question = Question("row", TURNS, "I say", [" (A)", " (B)"])
    as_chat, as_text = (
        list(score_questions(scorer, prompts, [question], lambda amount, note: None))[0]
        for prompts in (prompts_of(folder, model, "chat"), plain_prompts(model))
    )
    assert len(as_chat) == 2 and not (as_chat == as_text).any()


def test_the_error_quotes_the_message_of_the_template(folder: Path) -> None:
    with pytest.raises(
        QuestionError, match="the chat template of .* refuses these turns: only user and assistant speak$"
    ):
        chat(folder).text([{"role": "system", "text": "be kind"}], "", "")


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{% include '/etc/hostname' %}",
        "{{ strftime_now('%Y') }}",
        "{{ unfinished",
    ],
)
def test_a_template_has_no_access_to_anything_else(folder: Path, template: str) -> None:
    configure(folder, chat_template=template)
    with pytest.raises(ModelError, match="its chat template does not work") as caught:
        chat(folder)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_template_is_refused(folder: Path) -> None:
    configure(folder, chat_template=None)
    with pytest.raises(ModelError, match="has no chat template; set prompt_format to plain"):
        chat(folder)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="has no chat template; set prompt_format to plain"):
        chat(folder)
