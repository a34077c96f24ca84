"""The two prompt formats: the paper's plain text, or the chat template in the model folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from stages.core.shared_types import PromptFormat
from stages.lm.io.load import LanguageModel
from stages.lm.tokens.plain_format import NEXT_TURNS, Turn, plain


@dataclass(frozen=True)
class Prompts:
    """A prompt format: `text` renders turns, answer prefix and shared prefix; `tokenizer` encodes the result.

    A generated answer ends with the end token, or with one of the texts `stops`.
    """

    text: Callable[[Sequence[Turn], str, str], str]
    tokenizer: Tokenizer
    end_token: int | None
    stops: tuple[str, ...]
    is_chat: bool

    def continuation(self, answer_prefix: str, answer: str) -> str:
        """The text after the prompt; without an answer prefix, an answer in a chat does not begin with a space."""
        return answer.removeprefix(" ") if self.is_chat and not answer_prefix else answer


def plain_prompts(model: LanguageModel) -> Prompts:
    """Prompts in the paper's format."""
    return Prompts(plain, model.tokenizer, model.config.end_token, stops=NEXT_TURNS, is_chat=False)


def prompts_of(folder: Path, model: LanguageModel, prompt_format: PromptFormat) -> Prompts:
    """The prompt format for the model that was opened from `folder`.

    Raises:
        ModelError: the folder has no chat template, or one that does not work.
    """
    if prompt_format == "plain":
        return plain_prompts(model)
    # Imported here, so that plain prompts do not need jinja2.
    from stages.lm.tokens.chat_template import Chat

    chat = Chat(folder, model.tokenizer)
    end = model.config.end_token if chat.end_token is None else chat.end_token
    return Prompts(chat.text, chat.tokenizer, end, stops=(), is_chat=True)
