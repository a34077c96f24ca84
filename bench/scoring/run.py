"""Scoring here and with lm-evaluation-harness, side by side, on the NLP survey and on MMLU with five examples.

Run from the project's folder after `make repro`: `python -m bench.scoring.run PEER HUB`, where PEER is the interpreter
of an environment with lm-eval, torch and transformers, and HUB a folder of data sets in the hub's layout. Each run is a
process of its own; the peer is run at several batch sizes, and its best one counts.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.scoring.questions import Asked, mmlu, survey

MODEL = "models/base/smollm2-135m-deferential"
BATCHES = (1, 8, 16)
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

Found = dict[str, Any]


def main(peer: str, hub: str) -> None:
    """Prints seconds of both, and how often they choose alike."""
    lists = {"NLP survey, 200 questions": survey(Path(hub), 200), "MMLU 5-shot, 100 questions": mmlu(Path(hub), 100)}
    print("| list | arithmetic | lm-eval, s (batch) | candor, s | times as fast | tokens/s | same choice |")
    print("|---|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, questions in lists.items():
            path = Path(folder) / "questions.json"
            path.write_text(json.dumps(questions), encoding="utf-8")
            for dtype in ("float32", "bfloat16"):
                print(_row(name, questions, path, dtype, peer), flush=True)


def _row(name: str, questions: list[Asked], path: Path, dtype: str, peer: str) -> str:
    theirs = {batch: _run([peer, "bench/scoring/peer.py", MODEL, str(path), dtype, str(batch)]) for batch in BATCHES}
    ours = _run([sys.executable, "-m", "bench.scoring.ours", MODEL, str(path), dtype])
    batch, best = min(theirs.items(), key=lambda item: item[1]["seconds"])
    same, clear = _agreement(ours, best)
    ratio, rate = best["seconds"] / ours["seconds"], ours["tokens"] / ours["seconds"]
    return (
        f"| {name} | {dtype} | {best['seconds']:.1f} ({batch}) | {ours['seconds']:.1f} | {ratio:.1f} | {rate:,.0f} | "
        f"{same} of {clear} |"
    )


def _agreement(ours: Found, theirs: Found) -> tuple[int, int]:
    """How many choices are the same among the questions that the peer decides by more than 2e-3."""
    pairs = list(zip(ours["logprobs"], theirs["logprobs"], strict=True))
    clear = [(one, other) for one, other in pairs if np.subtract(*np.sort(other)[:-3:-1]) > 2e-3]
    return sum(int(np.argmax(one) == np.argmax(other)) for one, other in clear), len(clear)


def _run(command: list[str]) -> Found:
    done = subprocess.run(command, env=os.environ | HUGE_PAGES, check=True, stdout=subprocess.PIPE, text=True)
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
