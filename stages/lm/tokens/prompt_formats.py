"""How a model is asked: in the paper's plain format, or in the chat template that its folder holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from stages.core.shared_types import PromptFormat
from stages.lm.io.load import LanguageModel
from stages.lm.tokens.plain_format import NEXT_TURNS, Turn, plain


@dataclass(frozen=True)
class Prompts:
    """What makes a prompt's text of its turns, answer prefix and shared prefix, and what reads such a text.

    A written answer ends with the end token, or with one of the texts `stops`.
    """

    text: Callable[[Sequence[Turn], str, str], str]
    tokenizer: Tokenizer
    end_token: int | None
    stops: tuple[str, ...]
    is_chat: bool

    def continuation(self, answer_prefix: str, answer: str) -> str:
        """What follows the prompt: an answer with nothing before it in a chat's turn has no space before it either."""
        return answer.removeprefix(" ") if self.is_chat and not answer_prefix else answer


def plain_prompts(model: LanguageModel) -> Prompts:
    """Prompts in the paper's format."""
    return Prompts(plain, model.tokenizer, model.config.end_token, stops=NEXT_TURNS, is_chat=False)


def prompts_of(folder: Path, model: LanguageModel, prompt_format: PromptFormat) -> Prompts:
    """The prompts of the model that was opened from `folder`.

    Raises:
        ModelError: it has no chat template, or one that does not work.
    """
    if prompt_format == "plain":
        return plain_prompts(model)
    # Imported here: where prompts are plain, jinja2 need not be installed.
    from stages.lm.tokens.chat_template import Chat

    chat = Chat(folder, model.tokenizer)
    end = model.config.end_token if chat.end_token is None else chat.end_token
    return Prompts(chat.text, chat.tokenizer, end, stops=(), is_chat=True)
