"""Renders the turns of a conversation as plain text, in the paper's format.

`Human: …`, a blank line, `Assistant: …`. A prompt ends with the answer prefix, without a space after it.
"""

from collections.abc import Sequence
from typing import TypedDict

from stages.core.errors import QuestionError

_SPEAKERS = {"user": "Human", "assistant": "Assistant"}
# A model that generates past its answer begins another turn with one of these.
NEXT_TURNS = ("\n\nHuman:",)


class Turn(TypedDict):
    """One turn: the speaker (`user` or `assistant`) and the text."""

    role: str
    text: str


def plain(turns: Sequence[Turn], answer_prefix: str, shared_prefix: str = "") -> str:
    """The text up to where the answer begins."""
    paragraphs = [f"{_speaker(turn['role'])}: {turn['text']}" for turn in turns]
    answer_start = "Assistant: " + answer_prefix if answer_prefix else "Assistant:"
    return shared_prefix + "\n\n".join([*paragraphs, answer_start])


def _speaker(role: str) -> str:
    if role not in _SPEAKERS:
        raise QuestionError(f"the role {role!r} is unknown; known roles: {', '.join(_SPEAKERS)}")
    return _SPEAKERS[role]
