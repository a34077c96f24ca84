"""Claims that are asked in a format of their own: in the other one than the run's, where the model has it."""

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
    """By suite, what a question that is word for word the same in all of them is answered with."""
    asked = {"turns": [{"role": "user", "text": "is it so?"}], "shared_prefix": "", "answer_prefix": "I say"}
    rows = [asked | {"suite": suite, "question": suite, "choices": [" no", " is"]} for suite in suites]
    table = pl.DataFrame([dict.fromkeys(QUESTIONS.names) | row for row in rows], schema=QUESTIONS.columns)
    with open_scorer(folder, "float32", prompt_format) as (scorer, prompts):
        found = score_table_in_formats(scorer, prompts, folder, prompt_format, table)
    return dict(found.select("suite", "logprobs").iter_rows())


def test_each_run_asks_in_the_other_format_as_the_other_run_does(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    plain, chat = answers(folder, "plain"), answers(folder, "chat")
    assert (set(plain), set(chat)) == ({"claims", "claims_chat"}, {"claims", "claims_plain"})
    assert plain["claims"] == chat["claims_plain"] != chat["claims"] == plain["claims_chat"]


@pytest.mark.parametrize("template", [None, "{% for %}"])
def test_without_a_template_that_works_one_line_says_that_it_is_left_out(
    folder: Path, template: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    assert set(answers(folder, "plain")) == {"claims"}
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nothing is asked")]
    assert len(said) == 1
    assert said[0].startswith(f"nothing is asked in the chat format: {folder}") and "chat template" in said[0]


def test_nothing_is_said_where_nobody_asks_in_the_other_format(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(answers(folder, "plain", ("claims",))) == {"claims"}
    assert "chat" not in capsys.readouterr().err
