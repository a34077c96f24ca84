"""Renders prompts with a model's chat template (Jinja), in a sandbox because the template is untrusted code.

The template gets the same variables as in Transformers, except the date: prompts that change from day to day would
change the results.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from stages.core.errors import ModelError, QuestionError
from stages.lm.io.hf_config import read_keys
from stages.lm.io.hf_folder import CHAT_TEMPLATE, TOKENIZER_CONFIG
from stages.lm.tokens.plain_format import Turn

# A sample answer, to find out what a template appends to an answer.
_ANSWER = "answer"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class Chat:
    """The chat format of a model folder.

    `tokenizer` adds no special tokens, because the template contains all of them. `end_token` is the special token that
    the template puts after an answer, or None.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer):
        path = folder / TOKENIZER_CONFIG
        keys = read_keys(path) if path.exists() else {}
        self._source = folder
        self._template = _compiled(folder, _read_template(folder, keys))
        self._special = {name: _content(keys[name]) for name in _SPECIAL if keys.get(name)}
        self.tokenizer = _without_special_tokens(tokenizer)
        self.end_token = self._end_token()

    def text(self, turns: Sequence[Turn], answer_prefix: str, shared_prefix: str = "") -> str:
        """The text up to where the answer begins; the shared prefix goes at the start of the first turn.

        Raises:
            QuestionError: the template refuses these turns.
        """
        messages = [{"role": turn["role"], "content": turn["text"]} for turn in turns]
        if messages:
            messages[0]["content"] = shared_prefix + messages[0]["content"]
        try:
            return self._rendered(messages, add_generation_prompt=True) + answer_prefix
        except TemplateError as error:
            raise QuestionError(f"the chat template of {self._source} refuses these turns: {error}") from None

    def _rendered(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=add_generation_prompt, **self._special
            )
        except Exception as error:  # a template may raise any exception of Jinja or Python
            raise TemplateError(" ".join(str(error).split())) from None

    def _end_token(self) -> int | None:
        messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _ANSWER}]
        try:
            suffix = self._rendered(messages, add_generation_prompt=False).rpartition(_ANSWER)[2]
        except TemplateError as error:
            raise ModelError(f"{self._source}: its chat template does not work: {error}") from None
        special = {index for index, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        return next((index for index in self.tokenizer.encode(suffix).ids if index in special), None)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    return environment


def _compiled(folder: Path, template: str) -> Template:
    try:
        return _environment().from_string(template)
    except TemplateError as error:
        raise ModelError(f"{folder}: its chat template does not work: {error}") from None


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _read_template(folder: Path, keys: dict[str, Any]) -> str:
    """The template from its own file, or from tokenizer_config.json: one template, or several by name."""
    file = folder / CHAT_TEMPLATE
    if file.exists():
        return file.read_text(encoding="utf-8")
    template = keys.get("chat_template")
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    if not isinstance(template, str):
        raise ModelError(
            f"{folder} has no chat template; set prompt_format to plain, or use the model's instruct version"
        )
    return template


def _content(value: Any) -> str:
    return value["content"] if isinstance(value, dict) else str(value)


def _without_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    raw = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps(raw | {"post_processor": None}))
