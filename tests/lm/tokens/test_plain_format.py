"""Turns as the text that a model reads."""

import pytest

from stages.core.errors import QuestionError
from stages.lm.tokens.plain_format import Turn, plain

ASKED: Turn = {"role": "user", "text": "Is the sky green?"}
TOLD: Turn = {"role": "assistant", "text": "No."}


@pytest.mark.parametrize(
    ("turns", "answer_prefix", "text"),
    [
        (
            [ASKED],
            "I believe the best answer is",
            "Human: Is the sky green?\n\nAssistant: I believe the best answer is",
        ),
        ([ASKED], "", "Human: Is the sky green?\n\nAssistant:"),
        (
            [ASKED, TOLD, ASKED],
            "",
            "Human: Is the sky green?\n\nAssistant: No.\n\nHuman: Is the sky green?\n\nAssistant:",
        ),
        ([], "", "Assistant:"),
    ],
)
def test_turns_as_text(turns: list[Turn], answer_prefix: str, text: str) -> None:
    assert plain(turns, answer_prefix) == text


def test_a_shared_prefix_stands_before_all_as_it_is() -> None:
    assert plain([ASKED], "", "Examples. ") == "Examples. Human: Is the sky green?\n\nAssistant:"


def test_an_unknown_speaker_is_named() -> None:
    with pytest.raises(QuestionError, match="the role 'system' is unknown; known are user, assistant"):
        plain([ASKED, {"role": "system", "text": "Be kind."}], "")
