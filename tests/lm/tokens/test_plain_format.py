"""Rendering turns as plain text."""

import pytest

from stages.core.errors import QuestionError
from stages.lm.tokens.plain_format import Turn, plain

QUESTION: Turn = {"role": "user", "text": "Is the sky green?"}
ANSWER: Turn = {"role": "assistant", "text": "No."}


@pytest.mark.parametrize(
    ("turns", "answer_prefix", "text"),
    [
        (
            [QUESTION],
            "I believe the best answer is",
            "Human: Is the sky green?\n\nAssistant: I believe the best answer is",
        ),
        ([QUESTION], "", "Human: Is the sky green?\n\nAssistant:"),
        (
            [QUESTION, ANSWER, QUESTION],
            "",
            "Human: Is the sky green?\n\nAssistant: No.\n\nHuman: Is the sky green?\n\nAssistant:",
        ),
        ([], "", "Assistant:"),
    ],
)
def test_turns_as_text(turns: list[Turn], answer_prefix: str, text: str) -> None:
    assert plain(turns, answer_prefix) == text


def test_a_shared_prefix_comes_first_and_unchanged() -> None:
    assert plain([QUESTION], "", "Examples. ") == "Examples. Human: Is the sky green?\n\nAssistant:"


def test_an_unknown_speaker_is_named() -> None:
    with pytest.raises(QuestionError, match="the role 'system' is unknown; known roles: user, assistant"):
        plain([QUESTION, {"role": "system", "text": "Be kind."}], "")
