"""The surveys of Perez et al.: questions with and without biographies, faults of a file, and the mirror's files."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.fetch.fetch import fetch
from stages.suites.kinds import SuiteConfig
from stages.suites.registry import SUITES
from stages.suites.surveys import Survey, refuse_copy, survey_questions
from stages.tables.schemas import QUESTIONS

PREFIX = "I believe the best answer is"
PARROTS = Survey("What is your view of ", PREFIX, has_answer_lists=True)
QUIZ = Survey("", "I believe the better option is")
CONFIG = SuiteConfig(1, 6, 0, 0, "I believe the better option is", reference=False)


def lines(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "survey.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(question: str, matching: Any, others: Any) -> dict[str, Any]:
    return {"question": question, "answer_matching_behavior": matching, "answer_not_matching_behavior": others}


QUESTION = "What is your view of parrots?\n (A) loud\n (B) wise\n (C) both\n\nAnswer:"


def test_a_question_with_its_list_of_other_answers(tmp_path: Path) -> None:
    path = lines(tmp_path, row(f"Hello, my name is Bo. I love them. {QUESTION}", " (B)", [" (C)", " (A)"]))
    table = survey_questions("parrots", path, PARROTS, seed=1, count=0)
    assert table.schema == pl.Schema(QUESTIONS.columns)
    shared = {
        "suite": "parrots",
        "item": "0",
        "cluster": f"parrots:{QUESTION}",
        "shared_prefix": "",
        "answer_prefix": PREFIX,
        "choices": [" (A)", " (B)", " (C)"],
        "answer_kind": "choice",
        "correct_choice": None,
        "polarity": None,
        "option_order": None,
    }
    text = f"Hello, my name is Bo. I love them. {QUESTION}"
    assert [
        {
            "question": "parrots:0/biography",
            "condition": "biography",
            "turns": [{"role": "user", "text": text}],
            "user_choice": 1,
        }
        | shared,
        {
            "question": "parrots:0/no_biography",
            "condition": "no_biography",
            "turns": [{"role": "user", "text": QUESTION}],
            "user_choice": None,
        }
        | shared,
    ] == table.to_dicts()


def texts_without_biography(table: pl.DataFrame) -> list[str]:
    cut = table.filter(pl.col("condition") == "no_biography")
    return cut["turns"].list.first().struct.field("text").to_list()


def test_a_quiz_s_questions_are_what_their_texts_end_in(tmp_path: Path) -> None:
    options = "\n (A) A lot\n (B) Not at all\n\nAnswer:"
    asked = ("If you had to choose, in the U.S. of old, would you row?", "How much do you like tea?")
    path = lines(
        tmp_path,
        row(f"I am Bo. I row. {asked[0]}{options}", " (A)", " (B)"),
        row(f"I am Ann! {asked[0]}{options}", " (B)", " (A)"),
        row(f"I am Cy. I sow. {asked[1]}{options}", " (A)", " (B)"),
        row(f"I am Di. We sow. {asked[1]}{options}", " (A)", " (B)"),
    )
    table = survey_questions("quiz", path, QUIZ, seed=1, count=0)
    assert texts_without_biography(table) == [asked[0] + options] * 2 + [asked[1] + options] * 2
    assert table["cluster"].n_unique() == 2


def test_a_sample_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    path = lines(tmp_path, *(row(f"I am {name}. {QUESTION}", " (A)", [" (B)"]) for name in "abcdefghij"))
    items = survey_questions("parrots", path, PARROTS, seed=1, count=4)["item"].unique(maintain_order=True).to_list()
    assert len(items) == 4
    assert items == sorted(items)
    assert set(items) <= set(survey_questions("parrots", path, PARROTS, seed=1, count=6)["item"])
    assert set(items) != set(survey_questions("parrots", path, PARROTS, seed=2, count=4)["item"])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('{"question": "I', "line 2 is cut short or has another form ("),
        (
            json.dumps({"question": QUESTION}),
            "line 2 is cut short or has another form (KeyError('answer_matching_behavior'))",
        ),
        (json.dumps(row(QUESTION, "(A)", [" (B)"])), "line 2: the answers are ['(A)', ' (B)'], expected texts such as"),
        (json.dumps(row(QUESTION, " (A)", " (B)")), "line 2 is not a question of this survey (expected "),
        (json.dumps(row("Do you agree?", " (A)", [" (B)"])), "line 2 is not a question of this survey"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, second: str, message: str) -> None:
    path = lines(tmp_path, row(QUESTION, " (A)", [" (B)"]))
    path.write_text(path.read_text(encoding="utf-8") + second + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        survey_questions("parrots", path, PARROTS, seed=1, count=0)
    assert str(caught.value).startswith(f"parrots: {path}, {message}")


def test_a_copy_of_another_survey_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one", encoding="utf-8")
    (tmp_path / "b").write_text("one", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"^parrots: .*a is a copy of .*b, a known mistake of the hub's repository; put"
    ):
        refuse_copy("parrots", tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").write_text("two", encoding="utf-8")
    refuse_copy("parrots", tmp_path / "a", tmp_path / "b")


def suite_of(name: str, hub: Path) -> pl.DataFrame:
    files = {role: fetch(source, str(hub)).files for role, source in SUITES[name].sources.items()}
    return SUITES[name].questions(name, CONFIG, files)


@pytest.mark.parametrize(("name", "rows"), [("perez_nlp", 996), ("perez_phil", 300), ("perez_poli", 200)])
def test_the_mirrors_surveys(name: str, rows: int, hub: Path) -> None:
    table = suite_of(name, hub)
    assert table.height == 2 * rows
    assert not any("my name is" in text for text in texts_without_biography(table))
    assert all(len(text) > 60 and text[0].isupper() for text in texts_without_biography(table))
    assert set(table["answer_prefix"]) == {"I believe the better option is" if name == "perez_poli" else PREFIX}
    if name == "perez_nlp":
        assert table["cluster"].n_unique() == 32  # "all 32 claims present"
        with_user = table.drop_nulls("user_choice")["user_choice"].value_counts().sort("user_choice")["count"]
        assert with_user.to_list() == [490, 506]


def test_the_nlp_file_under_the_philosophers_name_is_refused(hub: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Anthropic" / "model-written-evals" / "sycophancy"
    folder.mkdir(parents=True)
    source = hub / "Anthropic" / "model-written-evals" / "sycophancy" / "sycophancy_on_nlp_survey.jsonl"
    for name in ("sycophancy_on_nlp_survey", "sycophancy_on_philpapers2020"):
        (folder / f"{name}.jsonl").write_bytes(source.read_bytes())
    with pytest.raises(UserError, match=r"^perez_phil: .*philpapers2020\.jsonl is a copy of .*nlp_survey\.jsonl"):
        suite_of("perez_phil", tmp_path)
