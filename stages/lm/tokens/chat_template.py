"""A model's own chat template (Jinja), rendered in a sandbox: it is a program from elsewhere.

It is given what Transformers gives it, but for the date: a text that changes from day to day would be another result.
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

# An answer that no template changes, to see what is put behind one.
_ANSWER = "answer"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class Chat:
    """The chat format of a model folder.

    `tokenizer` adds no special tokens of its own, since the template names them all; `end_token` is the one that the
    template puts behind an answer, if there is one.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer):
        path = folder / TOKENIZER_CONFIG
        keys = read_keys(path) if path.exists() else {}
        self._source = folder
        self._template = _compiled(folder, _template(folder, keys))
        self._special = {name: _content(keys[name]) for name in _SPECIAL if keys.get(name)}
        self.tokenizer = _without_special_tokens(tokenizer)
        self.end_token = self._end_token()

    def text(self, turns: Sequence[Turn], answer_prefix: str, shared_prefix: str = "") -> str:
        """The text up to where the answer begins; the shared prefix stands at the beginning of the first turn.

        Raises:
            QuestionError: the template refuses these turns.
        """
        messages = [{"role": turn["role"], "content": turn["text"]} for turn in turns]
        if messages:
            messages[0]["content"] = shared_prefix + messages[0]["content"]
        try:
            return self._rendered(messages, begun=True) + answer_prefix
        except TemplateError as error:
            raise QuestionError(f"the chat template of {self._source} refuses it: {error}") from None

    def _rendered(self, messages: list[dict[str, str]], begun: bool) -> str:
        try:
            return self._template.render(messages=messages, add_generation_prompt=begun, **self._special)
        except Exception as error:  # a program from elsewhere: it may raise whatever Jinja or Python has
            raise TemplateError(" ".join(str(error).split())) from None

    def _end_token(self) -> int | None:
        messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _ANSWER}]
        try:
            behind = self._rendered(messages, begun=False).rpartition(_ANSWER)[2]
        except TemplateError as error:
            raise ModelError(f"{self._source}: its chat template does not work: {error}") from None
        special = {index for index, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        return next((index for index in self.tokenizer.encode(behind).ids if index in special), None)


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


def _template(folder: Path, keys: dict[str, Any]) -> str:
    """A file of its own, or a key of tokenizer_config.json: a text, or several by name."""
    file = folder / CHAT_TEMPLATE
    if file.exists():
        return file.read_text(encoding="utf-8")
    held = keys.get("chat_template")
    if isinstance(held, list):
        held = {entry["name"]: entry["template"] for entry in held}.get("default")
    if not isinstance(held, str):
        raise ModelError(
            f"{folder} has no chat template; set prompt_format to plain, or use the model's instruct version"
        )
    return held


def _content(value: Any) -> str:
    return value["content"] if isinstance(value, dict) else str(value)


def _without_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    raw = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps(raw | {"post_processor": None}))
