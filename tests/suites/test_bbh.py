"""BIG-Bench Hard: parsed prompts, choices and written answers, on invented tasks, and the mirror's 27 tasks."""

from pathlib import Path

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.fetch.fetch import fetch
from stages.suites import bbh
from stages.suites.bbh import bbh_questions, read_prompt
from stages.suites.kinds import SuiteConfig
from stages.suites.registry import SUITES

CONFIG = SuiteConfig(1, 6, 0, 5, "I believe the best answer is", reference=False)
PROMPT = """\
A line about canaries.
-----
Count the gulls.

Q: One gull and one gull?
A: Let's think step by step.
1 + 1 is 2. So the answer is wrong if it is 3. So the answer is 2.

Q: No gull?
Options:
(A) 0
(B) 1
A: Let's think step by step.
None are 0.

They are away. So the answer is (A).

Q: A gull. Q: more?
A: Let's think step by step.
Yes. So the answer is [ ].
"""


def prompt(folder: Path, text: str = PROMPT) -> Path:
    path = folder / "gulls.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_prompt_is_parsed(tmp_path: Path) -> None:
    task_prompt = read_prompt("bbh_cot", prompt(tmp_path))
    assert task_prompt.task == "Count the gulls."
    assert [(question, answer) for question, _, answer in task_prompt.examples] == [
        ("One gull and one gull?", "2"),
        ("No gull?\nOptions:\n(A) 0\n(B) 1", "(A)"),
        ("A gull. Q: more?", "[ ]"),
    ]
    assert task_prompt.text(thinking=False) == (
        "Count the gulls.\n\n"
        "Human: One gull and one gull?\n\nAssistant: 2\n\n"
        "Human: No gull?\nOptions:\n(A) 0\n(B) 1\n\nAssistant: (A)\n\n"
        "Human: A gull. Q: more?\n\nAssistant: [ ]\n\n"
    )
    thought = "Assistant: Let's think step by step.\nNone are 0.\n\nThey are away. So the answer is (A).\n\n"
    assert thought in task_prompt.text(thinking=True)


@pytest.mark.parametrize(("old", "new"), [("So the answer is (A).", "(A)."), ("\n\nQ: No gull?", ""), (PROMPT, "")])
def test_a_prompt_without_three_examples_is_refused(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(UserError, match=r"gulls\.txt must have 3 examples that end in 'So the answer is …'; get the"):
        read_prompt("bbh_cot", prompt(tmp_path, PROMPT.replace(old, new)))


def questions(
    folder: Path, monkeypatch: pytest.MonkeyPatch, thinking: bool, *rows: tuple[str, str]
) -> list[dict[str, object]]:
    monkeypatch.setattr(bbh, "TASK_COUNT", 1)
    path = folder / "test.parquet"
    pl.DataFrame({"input": [text for text, _ in rows], "target": [target for _, target in rows]}).write_parquet(path)
    files = {"gulls/test-00000-of-00001.parquet": path}
    prompts = {"cot-prompts/gulls.txt": prompt(folder)}
    return bbh_questions("bbh", files, prompts, thinking, seed=1, count=0).to_dicts()


@pytest.mark.parametrize(
    ("rows", "choices", "correct"),
    [
        ([("Which?\nOptions:\n(A) a gull\n(B) an auk", "(B)")], [" (A)", " (B)"], 1),
        ([("Which?\nOptions:\n- Yes\n- No", "No")], [" Yes", " No"], 1),
        ([("Is it?", "True"), ("Is it not?", "False")], [" False", " True"], 1),
        ([("How many?", "3"), ("How many more?", "4"), ("And now?", "5")], [" 3"], 0),
    ],
)
def test_what_there_is_to_choose_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str]], choices: list[str], correct: int
) -> None:
    row = questions(tmp_path, monkeypatch, False, *rows)[0]
    assert (row["choices"], row["correct_choice"], row["answer_prefix"]) == (choices, correct, "")
    assert row["answer_kind"] == ("choice" if len(choices) > 1 else "generated")
    assert (row["question"], row["cluster"]) == ("bbh:gulls:0/direct", "bbh:gulls")


def test_a_chain_of_thought_has_one_expected_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = questions(tmp_path, monkeypatch, True, ("Which?\nOptions:\n(A) a gull\n(B) an auk", "(B)"))
    assert (row["choices"], row["correct_choice"], row["answer_prefix"]) == ([" (B)"], 0, "Let's think step by step.")
    assert row["answer_kind"] == "generated"


def test_tasks_without_their_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^bbh: there are 1 tasks and 1 prompts, expected 27 each with the same names$"
    ):
        bbh_questions("bbh", {"gulls/test": tmp_path}, {"cot-prompts/gulls.txt": tmp_path}, False, 1, 0)


@pytest.mark.parametrize(("name", "alone"), [("bbh_direct", 4 * 5), ("bbh_cot", 27 * 5)])
def test_the_mirrors_tasks(name: str, alone: int, hub: Path) -> None:
    files = {role: fetch(source, str(hub)).files for role, source in SUITES[name].sources.items()}
    table = SUITES[name].questions(name, CONFIG, files)
    assert table.height == 27 * 5
    assert table["shared_prefix"].n_unique() <= 27
    assert set(table["shared_prefix"].str.count_matches("Assistant: ")) == {3}
    # The model writes brackets, sums, counts and sorted words.
    assert table.filter(pl.col("choices").list.len() == 1).height == alone
    assert table.filter(pl.col("answer_kind") == "generated").height == alone
    assert table.filter(pl.col("correct_choice") >= pl.col("choices").list.len()).is_empty()
