"""The questions of the benchmark, from a folder in the hub's layout: the NLP survey, and MMLU with five examples."""

import json
import random
from pathlib import Path
from typing import Any

import polars as pl

LETTERS = "ABCD"

Asked = dict[str, Any]


def survey(hub: Path, count: int) -> list[Asked]:
    """Questions of Perez et al.'s NLP survey (arXiv 2212.09251), each with its two answers."""
    path = hub / "Anthropic/model-written-evals/sycophancy/sycophancy_on_nlp_survey.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    taken = random.Random(0).sample(rows, count)
    return [
        {"prompt": f"Human: {row['question']}\n\nAssistant: I believe the best answer is", "choices": [" (A)", " (B)"]}
        for row in taken
    ]


def mmlu(hub: Path, count: int) -> list[Asked]:
    """MMLU questions (Hendrycks et al., arXiv 2009.03300) after the five dev examples of their subject."""
    dev, test = (pl.read_parquet(hub / f"cais/mmlu/all/{split}-00000-of-00001.parquet") for split in ("dev", "test"))
    shots = {
        str(subject): _shots(str(subject), rows)
        for (subject,), rows in dev.partition_by("subject", as_dict=True).items()
    }
    rows = test.sample(count, seed=0).iter_rows(named=True)
    return [
        {"prompt": f"{shots[row['subject']]}{_question(row)}", "choices": [f" {letter}" for letter in LETTERS]}
        for row in rows
    ]


def _shots(subject: str, rows: pl.DataFrame) -> str:
    lead = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    return lead + "".join(f"{_question(row)} {LETTERS[row['answer']]}\n\n" for row in rows.iter_rows(named=True))


def _question(row: Asked) -> str:
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, row["choices"], strict=True))
    return f"{row['question'].strip()}\n{choices}Answer:"
