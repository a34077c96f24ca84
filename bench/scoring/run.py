"""Scoring here and with lm-evaluation-harness, side by side: the NLP survey, MMLU and BIG-Bench Hard with examples.

Run from the project's folder: `python -m bench.scoring.run PEER HUB`, where PEER is the interpreter
of an environment with lm-eval, torch and transformers, and HUB a folder of data sets in the hub's layout. Each run is a
process of its own; the peer is run at several batch sizes, and its best one counts.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.scoring.questions import hard, mmlu, survey

MODEL = "smollm2-135m-instruct"
BATCHES = (1, 8, 16)
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
COLUMNS = [
    "list", "in", "lm-eval, s (batch)", "candor, s", "times as fast",
    "tokens/s", "fed", "matrix rate", "same", "as float32",
]  # fmt: skip

Found = dict[str, Any]


def main(peer: str, hub: str) -> None:
    """Prints seconds of both, what limits this project's, and how often both choose alike."""
    folder = Path(hub)
    lists = {
        "NLP survey, 200 questions": survey(folder, 200),
        "MMLU, 5 examples, 100 questions of 4 subjects": mmlu(folder, 4, 25),
        "BIG-Bench Hard, 3 examples, 100 questions of 4 tasks": hard(folder, 4, 25),
    }
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---|---" + "|---:" * (len(COLUMNS) - 2) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        model, path = Path(scratch) / MODEL, Path(scratch) / "questions.json"
        subprocess.run([sys.executable, "-m", "stages.base", MODEL, str(model)], check=True)
        for name, questions in lists.items():
            path.write_text(json.dumps(questions), encoding="utf-8")
            measured = {dtype: _measured(dtype, model, path, peer) for dtype in ("float32", "bfloat16")}
            exact = measured["float32"].ours
            for dtype, found in measured.items():
                print(_row(f"{name} | {dtype}", found, exact), flush=True)


class _Measured(NamedTuple):
    """What both said and took, the peer at its best batch size."""

    ours: Found
    theirs: Found
    batch: int


def _measured(dtype: str, model: Path, questions: Path, peer: str) -> _Measured:
    given = [str(model), str(questions), dtype]
    theirs = {batch: _run([peer, "bench/scoring/peer.py", *given, str(batch)]) for batch in BATCHES}
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
