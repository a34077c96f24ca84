"""The questions of the benchmark, from a folder in the hub's layout: the NLP survey, MMLU and BIG-Bench Hard.

The prompts are those of lm-evaluation-harness in its tasks `mmlu` and `leaderboard_bbh`, with five examples and with
three. Only a few subjects and tasks are used, so that no more questions share their examples than in the full lists.
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

Item = dict[str, Any]


def survey(hub: Path, count: int) -> list[Item]:
    """Questions of Perez et al.'s NLP survey (arXiv 2212.09251), each with its two answers."""
    path = hub / "Anthropic/model-written-evals/sycophancy/sycophancy_on_nlp_survey.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    sample = random.Random(0).sample(rows, count)
    return [
        _item("", f"Human: {row['question']}\n\nAssistant: I believe the best answer is", [" (A)", " (B)"])
        for row in sample
    ]


def mmlu(hub: Path, subjects: int, count: int) -> list[Item]:
    """At most `count` questions of each of some MMLU subjects (arXiv 2009.03300), after five examples."""
    dev, test = (pl.read_parquet(hub / f"cais/mmlu/all/{split}-00000-of-00001.parquet") for split in ("dev", "test"))
    items = []
    for subject in random.Random(0).sample(sorted(test["subject"].unique()), subjects):
        shots = _shots(subject, dev.filter(subject=subject))
        rows = test.filter(subject=subject)
        sample = rows.sample(min(count, rows.height), seed=0).iter_rows(named=True)
        items += [_item(shots, _question(row), [f" {letter}" for letter in LETTERS]) for row in sample]
    return items


def hard(hub: Path, tasks: int, count: int) -> list[Item]:
    """`count` multiple-choice questions of each of some BIG-Bench Hard tasks (arXiv 2210.09261), after three."""
    files = {file.parent.name: file for file in sorted((hub / "lukaemon/bbh").glob("*/*.parquet"))}
    tables = {task: pl.read_parquet(file) for task, file in files.items()}
    with_options = [task for task, rows in tables.items() if rows["target"].str.contains(r"^\([A-Z]\)$").all()]
    items = []
    for task in random.Random(0).sample(with_options, tasks):
        prompt = read_prompt(task, hub / f"suzgunmirac/BIG-Bench-Hard/cot-prompts/{task}.txt")
        examples = (f"Q: {question}\nA: {answer}" for question, _, answer in prompt.examples)
        shots = "\n\n".join((prompt.task, *examples, ""))
        for text in tables[task].sample(count, seed=0)["input"]:
            items.append(_item(shots, f"Q: {text}\nA:", [f" {option}" for option in _OPTION.findall(text)]))
    return items


def _item(shots: str, question: str, choices: list[str]) -> Item:
    return {"prompt": shots + question, "shared": shots, "choices": choices}


def _shots(subject: str, rows: pl.DataFrame) -> str:
    lead = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    return lead + "".join(f"{_question(row)} {LETTERS[row['answer']]}\n\n" for row in rows.iter_rows(named=True))


def _question(row: Item) -> str:
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, row["choices"], strict=True))
    return f"{row['question'].strip()}\n{choices}Answer:"
