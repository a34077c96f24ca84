"""Scoring here and with lm-evaluation-harness, side by side: the NLP survey, MMLU and BIG-Bench Hard with examples.

Run from the project's folder: `python -m bench.scoring.run PEER HUB [survey] [mmlu] [hard]`, where PEER is the
interpreter of an environment with lm-eval, torch and transformers, and HUB a folder of data sets in the hub's layout;
without names all lists are asked. Each run is a process of its own; the peer is run at several batch sizes, and its
best one counts.
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

from bench.scoring.questions import Asked, hard, mmlu, survey

MODEL = "smollm2-135m-instruct"
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
COLUMNS = [
    "list", "in", "lm-eval, s (batch)", "candor, s", "times as fast",
    "tokens/s", "fed", "matrix rate", "same", "as float32",
]  # fmt: skip

Found = dict[str, Any]


class _List(NamedTuple):
    """What is asked, and the peer's batch sizes.

    One alone for MMLU, the best of 1, 8 and 16 at 25 questions a subject, and where it reads each up to eighteen times.
    """

    title: str
    questions: Callable[[Path], list[Asked]]
    batches: tuple[int, ...]


LISTS = {
    "survey": _List("NLP survey, 200 questions", lambda hub: survey(hub, 200), (1, 8, 16)),
    "mmlu": _List("MMLU, 5 examples, 400 questions of 4 subjects", lambda hub: mmlu(hub, 4, 100), (1,)),
    "hard": _List("BIG-Bench Hard, 3 examples, 40 questions of 8 tasks", lambda hub: hard(hub, 8, 5), (8,)),
}


def main(peer: str, hub: str, *names: str) -> None:
    """Prints seconds of both, what limits this project's, and how often both choose alike."""
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---|---" + "|---:" * (len(COLUMNS) - 2) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        model, path = Path(scratch) / MODEL, Path(scratch) / "questions.json"
        subprocess.run([sys.executable, "-m", "stages.base", MODEL, str(model)], check=True)
        for one in (LISTS[name] for name in names or LISTS):
            path.write_text(json.dumps(one.questions(Path(hub))), encoding="utf-8")
            measured = {
                dtype: _measured([str(model), str(path), dtype], peer, one.batches) for dtype in ("float32", "bfloat16")
            }
            exact = measured["float32"].ours
            for dtype, found in measured.items():
                print(_row(f"{one.title} | {dtype}", found, exact), flush=True)


class _Measured(NamedTuple):
    """What both said and took, the peer at its best batch size."""

    ours: Found
    theirs: Found
    batch: int


def _measured(given: list[str], peer: str, batches: tuple[int, ...]) -> _Measured:
    theirs = {batch: _run([peer, "bench/scoring/peer.py", *given, str(batch)]) for batch in batches}
    ours = _run([sys.executable, "-m", "bench.scoring.ours", *given])
    batch, best = min(theirs.items(), key=lambda item: item[1]["seconds"])
    return _Measured(ours, best, batch)


def _row(name: str, found: _Measured, exact: Found) -> str:
    ours, theirs, batch = found
    (same, clear), (kept, asked), (lost, _) = (
        _agreement(one, other) for one, other in ((ours, theirs), (ours, exact), (theirs, exact))
    )
    ratio, rate = theirs["seconds"] / ours["seconds"], ours["tokens"] / ours["seconds"]
    return (
        f"| {name} | {theirs['seconds']:.1f} ({batch}) | {ours['seconds']:.1f} | {ratio:.1f} | {rate:,.0f} | "
        f"{ours['fed'] / ours['tokens']:.0%} | {ours['share']:.0%} | {same} of {clear} | {lost} and {kept} of {asked} |"
    )


def _agreement(asked: Found, judge: Found) -> tuple[int, int]:
    """How many choices are the same among the questions that the other decides by more than 2e-3."""
    pairs = list(zip(asked["logprobs"], judge["logprobs"], strict=True))
    clear = [(one, other) for one, other in pairs if np.subtract(*np.sort(other)[:-3:-1]) > 2e-3]
    return sum(int(np.argmax(one) == np.argmax(other)) for one, other in clear), len(clear)


def _run(command: list[str]) -> Found:
    done = subprocess.run(command, env=os.environ | HUGE_PAGES, check=True, stdout=subprocess.PIPE, text=True)
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
