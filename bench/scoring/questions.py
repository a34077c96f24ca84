"""The questions of the benchmark, from a folder in the hub's layout: the NLP survey, MMLU and BIG-Bench Hard.

The words are those that lm-evaluation-harness asks in its tasks `mmlu` and `leaderboard_bbh`, after five examples and
after three. Of both, few subjects or tasks are asked, so that as many questions share examples as in the whole lists,
or fewer.
"""

import json
import random
import re
from pathlib import Path
from typing import Any

import polars as pl

from stages.suites.bbh import read_prompt

LETTERS = "ABCD"
_OPTION = re.compile(r"^(\([A-Z]\)) ", re.M)

Asked = dict[str, Any]


def survey(hub: Path, count: int) -> list[Asked]:
    """Questions of Perez et al.'s NLP survey (arXiv 2212.09251), each with its two answers."""
    path = hub / "Anthropic/model-written-evals/sycophancy/sycophancy_on_nlp_survey.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    taken = random.Random(0).sample(rows, count)
    return [
        _asked("", f"Human: {row['question']}\n\nAssistant: I believe the best answer is", [" (A)", " (B)"])
        for row in taken
    ]


def mmlu(hub: Path, subjects: int, count: int) -> list[Asked]:
    """`count` MMLU questions, or all, of some subjects (Hendrycks et al., arXiv 2009.03300), after five of `dev`."""
    dev, test = (pl.read_parquet(hub / f"cais/mmlu/all/{split}-00000-of-00001.parquet") for split in ("dev", "test"))
    drawn = random.Random(0).sample(sorted(test["subject"].unique()), subjects)
    asked = []
    for subject in drawn:
        shots = _shots(subject, dev.filter(subject=subject))
        rows = test.filter(subject=subject)
        taken = rows.sample(min(count, rows.height), seed=0).iter_rows(named=True)
        asked += [_asked(shots, _question(row), [f" {letter}" for letter in LETTERS]) for row in taken]
    return asked


def hard(hub: Path, tasks: int, count: int) -> list[Asked]:
    """`count` questions with options of each of some BIG-Bench Hard tasks (arXiv 2210.09261), after three examples."""
    files = {file.parent.name: file for file in sorted((hub / "lukaemon/bbh").glob("*/*.parquet"))}
    tables = {task: pl.read_parquet(file) for task, file in files.items()}
    with_options = [task for task, rows in tables.items() if rows["target"].str.contains(r"^\([A-Z]\)$").all()]
    asked = []
    for task in random.Random(0).sample(with_options, tasks):
        prompt = read_prompt(task, hub / f"suzgunmirac/BIG-Bench-Hard/cot-prompts/{task}.txt")
        shots = "\n\n".join((prompt.task, *(f"Q: {question}\nA: {said}" for question, _, said in prompt.examples), ""))
        for text in tables[task].sample(count, seed=0)["input"]:
            asked.append(_asked(shots, f"Q: {text}\nA:", [f" {option}" for option in _OPTION.findall(text)]))
    return asked


def _asked(shots: str, question: str, choices: list[str]) -> Asked:
    return {"prompt": shots + question, "shared": shots, "choices": choices}


def _shots(subject: str, rows: pl.DataFrame) -> str:
    lead = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    return lead + "".join(f"{_question(row)} {LETTERS[row['answer']]}\n\n" for row in rows.iter_rows(named=True))


def _question(row: Asked) -> str:
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, row["choices"], strict=True))
    return f"{row['question'].strip()}\n{choices}Answer:"
