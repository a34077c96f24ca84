"""Compares scoring here and with lm-evaluation-harness: the NLP survey, MMLU and BIG-Bench Hard with examples.

Run from the project's folder: `python -m bench.scoring.run PEER HUB [survey] [mmlu] [hard]`, where PEER is the
interpreter of an environment with lm-eval, torch and transformers, and HUB a folder of datasets in the hub's layout;
without names all lists run. Each run is a process of its own; the peer runs at several batch sizes, and its best one
counts.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.scoring.questions import Item, hard, mmlu, survey

MODEL = "smollm2-135m-instruct"
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
COLUMNS = [
    "list", "in", "lm-eval, s (batch)", "candor, s", "times as fast",
    "tokens/s", "fed", "matrix rate", "same", "as float32",
]  # fmt: skip

Result = dict[str, Any]


class _List(NamedTuple):
    """A list of questions, and the peer's batch sizes.

    MMLU runs at a single batch size, the best of 1, 8 and 16 with 25 questions a subject, because the peer reads each
    prompt up to eighteen times.
    """

    title: str
    questions: Callable[[Path], list[Item]]
    batches: tuple[int, ...]


LISTS = {
    "survey": _List("NLP survey, 200 questions", lambda hub: survey(hub, 200), (1, 8, 16)),
    "mmlu": _List("MMLU, 5 examples, 400 questions of 4 subjects", lambda hub: mmlu(hub, 4, 100), (1,)),
    "hard": _List("BIG-Bench Hard, 3 examples, 40 questions of 8 tasks", lambda hub: hard(hub, 8, 5), (8,)),
}


def main(peer: str, hub: str, *names: str) -> None:
    """Prints the seconds of both, what limits this project's, and how often both make the same choice."""
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---|---" + "|---:" * (len(COLUMNS) - 2) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        model, path = Path(scratch) / MODEL, Path(scratch) / "questions.json"
        subprocess.run([sys.executable, "-m", "stages.base", MODEL, str(model)], check=True)
        for questions in (LISTS[name] for name in names or LISTS):
            path.write_text(json.dumps(questions.questions(Path(hub))), encoding="utf-8")
            comparisons = {
                dtype: _compare([str(model), str(path), dtype], peer, questions.batches)
                for dtype in ("float32", "bfloat16")
            }
            exact = comparisons["float32"].ours
            for dtype, comparison in comparisons.items():
                print(_row(f"{questions.title} | {dtype}", comparison, exact), flush=True)


class _Comparison(NamedTuple):
    """The results of both, of the peer at its best batch size."""

    ours: Result
    theirs: Result
    batch: int


def _compare(arguments: list[str], peer: str, batches: tuple[int, ...]) -> _Comparison:
    theirs = {batch: _run([peer, "bench/scoring/peer.py", *arguments, str(batch)]) for batch in batches}
    ours = _run([sys.executable, "-m", "bench.scoring.ours", *arguments])
    batch, best = min(theirs.items(), key=lambda item: item[1]["seconds"])
    return _Comparison(ours, best, batch)


def _row(name: str, comparison: _Comparison, exact: Result) -> str:
    ours, theirs, batch = comparison
    same, clear = _agreement(ours, theirs)
    ours_exact, clear_exact = _agreement(ours, exact)
    theirs_exact, _ = _agreement(theirs, exact)
    ratio, rate = theirs["seconds"] / ours["seconds"], ours["tokens"] / ours["seconds"]
    return (
        f"| {name} | {theirs['seconds']:.1f} ({batch}) | {ours['seconds']:.1f} | {ratio:.1f} | {rate:,.0f} | "
        f"{ours['fed'] / ours['tokens']:.0%} | {ours['share']:.0%} | {same} of {clear} | "
        f"{theirs_exact} and {ours_exact} of {clear_exact} |"
    )


def _agreement(result: Result, reference: Result) -> tuple[int, int]:
    """How many choices agree, of the questions that the reference decides by more than 2e-3, and their number."""
    pairs = list(zip(result["logprobs"], reference["logprobs"], strict=True))
    clear = [(actual, expected) for actual, expected in pairs if np.subtract(*np.sort(expected)[:-3:-1]) > 2e-3]
    return sum(int(np.argmax(actual) == np.argmax(expected)) for actual, expected in clear), len(clear)


def _run(command: list[str]) -> Result:
    process = subprocess.run(command, env=os.environ | HUGE_PAGES, check=True, stdout=subprocess.PIPE, text=True)
    result: Result = json.loads(process.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
