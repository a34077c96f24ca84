"""From the turns of a conversation to the plain text that a model reads.

The paper's format: `Human: …`, a blank line, `Assistant: …`; a question ends in the answer prefix without a space.
"""

from collections.abc import Sequence
from typing import TypedDict

from stages.core.errors import QuestionError

_SPEAKERS = {"user": "Human", "assistant": "Assistant"}
# Where a model that goes on writing begins another turn.
NEXT_TURNS = ("\n\nHuman:",)


class Turn(TypedDict):
    """One turn: who speaks (user or assistant) and what is said."""

    role: str
    text: str


def plain(turns: Sequence[Turn], answer_prefix: str, shared_prefix: str = "") -> str:
    """The text up to where the answer begins."""
    said = [f"{_speaker(turn['role'])}: {turn['text']}" for turn in turns]
    begun = "Assistant: " + answer_prefix if answer_prefix else "Assistant:"
    return shared_prefix + "\n\n".join([*said, begun])


def _speaker(role: str) -> str:
    if role not in _SPEAKERS:
        raise QuestionError(f"the role {role!r} is unknown; known are {', '.join(_SPEAKERS)}")
    return _SPEAKERS[role]
