"""Suites with their own prompt format: asked in the other format than the run's, if the model has it."""

from pathlib import Path

import polars as pl
import pytest

from stages.core.shared_types import PromptFormat
from stages.inference.formats import score_table_in_formats
from stages.inference.open import open_scorer
from stages.tables.schemas import QUESTIONS
from tests.helpers.tiny_model import TinyModel

TEMPLATE = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}[assistant] "
SUITES = ("claims", "claims_plain", "claims_chat")


@pytest.fixture
def folder(tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "home"))
    tiny(seed=4, folder=tmp_path / "model")
    return tmp_path / "model"


def answers(folder: Path, prompt_format: PromptFormat, suites: tuple[str, ...] = SUITES) -> dict[str, list[float]]:
    """The log-probabilities by suite, for a question with the same words in each."""
    question = {"turns": [{"role": "user", "text": "is it so?"}], "shared_prefix": "", "answer_prefix": "I say"}
    rows = [question | {"suite": suite, "question": suite, "choices": [" no", " is"]} for suite in suites]
    table = pl.DataFrame([dict.fromkeys(QUESTIONS.names) | row for row in rows], schema=QUESTIONS.columns)
    with open_scorer(folder, "float32", prompt_format) as (scorer, prompts):
        result = score_table_in_formats(scorer, prompts, folder, prompt_format, table)
    return dict(result.select("suite", "logprobs").iter_rows())


def test_the_other_format_gives_the_answers_of_a_run_in_that_format(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    plain, chat = answers(folder, "plain"), answers(folder, "chat")
    assert (set(plain), set(chat)) == ({"claims", "claims_chat"}, {"claims", "claims_plain"})
    assert plain["claims"] == chat["claims_plain"] != chat["claims"] == plain["claims_chat"]


@pytest.mark.parametrize("template", [None, "{% for %}"])
def test_without_a_working_template_one_line_says_that_questions_are_skipped(
    folder: Path, template: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    assert set(answers(folder, "plain")) == {"claims"}
    lines = capsys.readouterr().err.splitlines()
    [note] = [line for line in lines if line.startswith("questions in the chat format are skipped")]
    assert note.startswith(f"questions in the chat format are skipped: {folder}") and "chat template" in note


def test_no_line_if_no_suite_needs_the_other_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(answers(folder, "plain", ("claims",))) == {"claims"}
    assert "chat" not in capsys.readouterr().err
