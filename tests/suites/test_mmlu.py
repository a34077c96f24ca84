"""MMLU: a question in each form, on invented subjects, and the mirror's rows."""

from pathlib import Path

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.fetch.fetch import fetch
from stages.suites import mmlu
from stages.suites.kinds import SuiteConfig
from stages.suites.mmlu import mmlu_questions
from stages.suites.registry import SUITES
from stages.tables.schemas import QUESTIONS

CONFIG = SuiteConfig(1, 6, 0, 3, "I believe the best answer is", reference=False)
CHOICES = ["one", "two", "three", "four"]


def file(folder: Path, name: str, *rows: tuple[str, str, int]) -> dict[str, Path]:
    path = folder / f"{name}.parquet"
    columns = {
        "question": [question for question, _, _ in rows],
        "subject": [subject for _, subject, _ in rows],
        "choices": [CHOICES] * len(rows),
        "answer": [answer for _, _, answer in rows],
    }
    pl.DataFrame(columns).write_parquet(path)
    return {f"all/{name}-0.parquet": path}


@pytest.fixture
def two_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmlu, "SUBJECTS", 2)
    monkeypatch.setattr(mmlu, "SHOTS", 1)


@pytest.fixture
def dev(tmp_path: Path) -> dict[str, Path]:
    return file(tmp_path, "dev", ("How many moons?", "star_gazing", 0), ("How many oars?", "rowing", 1))


LISTED = "\nA. one\nB. two\nC. three\nD. four\nAnswer:"


@pytest.mark.usefixtures("two_subjects")
def test_examples_are_a_subjects_shared_prefix(tmp_path: Path, dev: dict[str, Path]) -> None:
    test = file(tmp_path, "test", ("How many suns? ", "star_gazing", 3))
    table = mmlu_questions("mmlu_5shot", dev, test, form="five_shot", seed=1, count=0)
    assert table.schema == pl.Schema(QUESTIONS.columns)
    assert table.to_dicts() == [
        {
            "suite": "mmlu_5shot",
            "question": "mmlu_5shot:0/five_shot",
            "item": "0",
            "condition": "five_shot",
            "cluster": "mmlu_5shot:star_gazing",
            "turns": [{"role": "user", "text": "How many suns?" + LISTED}],
            "shared_prefix": "The following are multiple choice questions (with answers) about star gazing.\n\n"
            f"Human: How many moons?{LISTED}\n\nAssistant: A\n\n",
            "answer_prefix": "",
            "choices": [" A", " B", " C", " D"],
            "answer_kind": "choice",
            "correct_choice": 3,
            "user_choice": None,
            "polarity": None,
            "option_order": None,
        }
    ]


@pytest.mark.usefixtures("two_subjects")
def test_without_examples_the_subject_stands_in_the_question(tmp_path: Path, dev: dict[str, Path]) -> None:
    test = file(tmp_path, "test", ("How many suns?", "rowing", 3))
    (row,) = mmlu_questions("mmlu_0shot", dev, test, form="zero_shot", seed=1, count=0).to_dicts()
    assert (row["shared_prefix"], row["condition"]) == ("", "zero_shot")
    assert row["turns"][0]["text"].startswith(
        "The following are multiple choice questions (with answers) about rowing."
    )


@pytest.mark.usefixtures("two_subjects")
def test_with_a_chain_of_thought_the_letter_is_to_be_written(tmp_path: Path, dev: dict[str, Path]) -> None:
    test = file(tmp_path, "test", ("How many suns?", "rowing", 3))
    (row,) = mmlu_questions("mmlu_cot", dev, test, form="chain_of_thought", seed=1, count=0).to_dicts()
    assert (row["choices"], row["correct_choice"], row["shared_prefix"]) == ([" (D)"], 0, "")
    assert row["answer_kind"] == "generated"
    assert row["answer_prefix"] == "Let's think step by step."
    assert row["turns"][0]["text"] == (
        "The following are multiple choice questions (with answers) about rowing.\n\n"
        "How many suns?\n(A) one\n(B) two\n(C) three\n(D) four\n\n"
        'Think step by step, and end with "So the answer is" and the letter in parentheses.'
    )


@pytest.mark.usefixtures("two_subjects")
def test_the_given_number_of_each_subject_is_drawn(tmp_path: Path, dev: dict[str, Path]) -> None:
    test = file(tmp_path, "test", *((f"Which {n}?", subject, 0) for n in range(6) for subject in ("rowing", "x")))
    table = mmlu_questions("mmlu_0shot", dev, test, form="zero_shot", seed=1, count=2)
    assert dict(table["cluster"].value_counts().iter_rows()) == {"mmlu_0shot:rowing": 2, "mmlu_0shot:x": 2}


def test_other_than_five_examples_of_57_subjects_are_refused(tmp_path: Path, dev: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"^mmlu_5shot: .*dev\.parquet must have 5 examples for each of 57 subjects$"):
        mmlu_questions("mmlu_5shot", dev, dev, form="five_shot", seed=1, count=0)


def test_an_answer_that_is_no_choice_is_named(tmp_path: Path) -> None:
    test = file(tmp_path, "test", ("How many?", "rowing", 4))
    with pytest.raises(UserError, match=r"test\.parquet, row 0 must have four choices and an answer from 0 to 3$"):
        mmlu_questions("mmlu_0shot", test, test, form="zero_shot", seed=1, count=0)


@pytest.mark.parametrize("name", ["mmlu_5shot", "mmlu_0shot", "mmlu_cot"])
def test_the_mirrors_subjects(name: str, hub: Path) -> None:
    files = {role: fetch(source, str(hub)).files for role, source in SUITES[name].sources.items()}
    table = SUITES[name].questions(name, CONFIG, files)
    assert table.height == 3 * 29  # the mirror's test has 29 of the 57 subjects
    prefixes = table["shared_prefix"].unique().to_list()
    assert [prefix.count("Assistant: ") for prefix in prefixes] == ([5] * 29 if name == "mmlu_5shot" else [0])
