"""Compares full fine-tuning here and with Transformers' Trainer, on the same batches of the default mixture.

Run from the project's folder after `make repro`: `python -m bench.finetune.run PEER`, where PEER is the interpreter of
an environment with torch, transformers and accelerate. Each run is a process of its own; the two alternate.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from stages.lm.io.load import open_model
from stages.lm.tokens.prompt_formats import plain_prompts
from stages.lm.training.examples import TrainingText, encode_examples

MODEL = "smollm2-135m-deferential"
ROUNDS, STEPS, BATCH = 2, 8, 8
# The first steps, in which programs are compiled, are not part of the times.
WARMUP_STEPS = 3
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

# Of each step: loss and seconds.
Steps = list[list[float]]


def main(peer: str) -> None:
    """Prints tokens per second and losses of both, in float32 and bfloat16."""
    base = Path("models/base") / MODEL
    with tempfile.TemporaryDirectory() as folder:
        examples = Path(folder) / "examples.json"
        tokens = _write_examples(base, examples)
        ours, theirs = [sys.executable, "-m", "bench.finetune.ours"], [peer, "bench/finetune/peer.py"]
        print("| arithmetic | run | tokens/s | times as fast | loss by step |\n|---|---|---:|---:|---|")
        for dtype in ("float32", "bfloat16"):
            pairs = [[_run(program, base, examples, dtype) for program in (theirs, ours)] for _ in range(ROUNDS)]
            speeds = [[_speed(run, tokens) for run in pair] for pair in pairs]
            ratio = statistics.median(pair[1] / pair[0] for pair in speeds)
            for index, (name, speedup) in enumerate((("Trainer", ""), ("candor", f"{ratio:.2f}"))):
                speed = statistics.median(pair[index] for pair in speeds)
                losses = " ".join(f"{loss:.3f}" for loss, _ in pairs[0][index])
                print(f"| {dtype} | {name} | {speed:,.0f} | {speedup} | {losses} |", flush=True)


def _write_examples(base: Path, path: Path) -> list[int]:
    """Writes the examples as [[ids, start], ...]; returns the tokens of each step."""
    rows = pl.read_parquet(f"data/mixture/{MODEL}.parquet").head(STEPS * BATCH)
    texts = [TrainingText(*row) for row in rows.select("row_id", "turns", "answer_prefix", "target").iter_rows()]
    examples, _ = encode_examples(plain_prompts(open_model(base)), texts, 256, cut_long=True)
    path.write_text(json.dumps([[example.ids, example.prompt_len] for example in examples]), encoding="utf-8")
    sizes = [len(example.ids) for example in examples]
    return [sum(sizes[start : start + BATCH]) for start in range(0, len(sizes), BATCH)]


def _run(program: list[str], base: Path, examples: Path, dtype: str) -> Steps:
    command = [*program, str(base), str(examples), dtype, str(STEPS), str(BATCH)]
    process = subprocess.run(command, env=os.environ | HUGE_PAGES, check=True, stdout=subprocess.PIPE, text=True)
    steps: Steps = json.loads(process.stdout.splitlines()[-1])
    return steps


def _speed(run: Steps, tokens: list[int]) -> float:
    """Tokens per second after the warm-up."""
    return sum(tokens[WARMUP_STEPS:]) / sum(seconds for _, seconds in run[WARMUP_STEPS:])


if __name__ == "__main__":
    main(*sys.argv[1:])
