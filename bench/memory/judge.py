"""Measures the peak memory of `prompt`, `judge` and `filter` as the number of prompts grows, with a tiny model.

Run from the project's folder: `python -m bench.memory.judge FOLDER [PROMPTS ...]`. All sizes share one answer cache in
FOLDER, and a larger size contains the prompts of the smaller ones: so each size computes only its additional prompts.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

PROMPTS = (250_000, 1_000_000)
# For each stage the output whose size is printed, and its arguments.
STAGES = {
    "prompt": ("data/prompts.parquet", "data/examples.parquet data/raw {} data/claims.parquet shortcuts.json"),
    "judge": ("data/judged.parquet", "data/prompts.parquet model {}"),
    "filter": ("data/filtered.parquet", "data/judged.parquet {} filter.json"),
}


def main(folder: Path, sizes: list[int]) -> None:
    """Prints a line for each number of prompts and stage."""
    print("| prompts | stage | seconds | seconds of processor | GiB | MB written |\n|---|---|---|---|---|---|")
    for count in sizes:
        project = folder / str(count)
        if not project.exists():
            # In a process of its own, since a child's peak memory starts at that of the process that started it.
            subprocess.run([sys.executable, "-m", "bench.memory.prompts", project, str(count)], check=True)
        for stage, (out, arguments) in STAGES.items():
            seconds, processor, gib = _measure(project, stage, arguments.format(out), folder / "home")
            written = (project / out).stat().st_size / 1e6
            print(f"| {count:,} | {stage} | {seconds:.0f} | {processor:.0f} | {gib:.2f} | {written:,.0f} |", flush=True)


def _measure(project: Path, stage: str, arguments: str, home: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak GiB of one stage, as DVC runs it."""
    variables = {"PYTHONPATH": str(Path.cwd()), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "CANDOR_HOME": str(home)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *arguments.split()], cwd=project, env=os.environ | variables
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{stage} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 2**30


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]] or list(PROMPTS))
