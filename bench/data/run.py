"""Measures time and memory of the stages `clean` and `prompt` at growing numbers of examples.

Run from the project's folder: `python -m bench.data.run HUB [ROWS ...]`, where HUB is a folder in the hub's layout with
the paper's seventeen datasets. Their rows are repeated with different suffixes, so that no text and no cluster repeats.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from stages.core.params import read_document
from stages.core.shared_types import GIB
from stages.datasets.paper import PAPER_SETS
from stages.datasets.rows import examples
from stages.fetch.fetch import fetch
from stages.suites.kinds import SuiteConfig
from stages.suites.registry import SUITES
from stages.tables.parquet import write_table
from stages.tables.schemas import EXAMPLES_RAW, QUESTIONS

ROWS = (100_000, 500_000, 1_738_162, 5_000_000)
SUITE_NAMES = ("addition", "perez_nlp", "perez_phil", "perez_poli", "mmlu_5shot", "mmlu_0shot", "bbh_direct")
CORES = {0, 1}

STAGES = {
    "clean": "data/raw data/instructions data/suites data/examples.parquet data/pairs.parquet counts.json sources.json",
    "prompt": "data/examples.parquet data/raw data/prompts.parquet data/claims.parquet shortcuts.json",
}


def main(hub: str, rows: list[int]) -> None:
    """Prints a line for each number of rows and stage."""
    print("| examples | stage | seconds | seconds of processor | GiB | prompts |\n|---|---|---|---|---|---|")
    for count in rows:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder)
            _write_project(project, hub, count)
            for stage, arguments in STAGES.items():
                seconds, processor, memory = _measure(project, stage, arguments)
                table = pl.scan_parquet(project / "data/prompts.parquet") if stage == "prompt" else None
                prompts = f"{table.select(pl.len()).collect().item():,}" if table is not None else ""
                print(
                    f"| {count:,} | {stage} | {seconds:.1f} | {processor:.1f} | {memory:.2f} | {prompts} |", flush=True
                )


def _write_project(project: Path, hub: str, count: int) -> None:
    """Writes a project with `count` examples in raw tables, in the shares of the published datasets."""
    params = read_document(Path("presets/paper.yaml"))
    params |= {"datasets": [entry.name for entry in PAPER_SETS], "instructions": [], "suites": list(SUITE_NAMES)}
    (project / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    published = sum(entry.published for entry in PAPER_SETS)
    for entry in PAPER_SETS:
        fetched = fetch(entry.files, hub)
        table = examples(entry, fetched.paths, fetched.revision)
        rows = max(round(count * entry.published / published), 1)
        path = project / f"data/raw/{entry.name}.parquet"
        write_table(_repeat_rows(table, rows), EXAMPLES_RAW, path)
    config = SuiteConfig(1, 2_500, 1_000, 0, "I believe the best answer is", reference=False)
    for name in SUITE_NAMES:
        files = {role: fetch(source, hub).files for role, source in SUITES[name].sources.items()}
        write_table(SUITES[name].questions(name, config, files), QUESTIONS, project / f"data/suites/{name}.parquet")
    shutil.copyfile("pins.yaml", project / "pins.yaml")


def _repeat_rows(table: pl.DataFrame, count: int) -> pl.DataFrame:
    number = pl.int_range(count, dtype=pl.Int64)
    rows = table[pl.select(number % table.height).to_series()].with_columns(row=number)
    suffix = pl.format(" again {}", pl.col("row") // table.height)
    texts = pl.col("text").str.strip_suffix('"').str.split('" and "').list.join(pl.format('{}" and "', suffix))
    return rows.with_columns(
        example=pl.format("{}:{}", "dataset", "row"),
        text=pl.format('{}{}"', texts, suffix),
        cluster=pl.format("{}{}", "cluster", suffix),
    )


def _measure(project: Path, stage: str, arguments: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak GiB of one stage, on two cores."""
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "POLARS_MAX_THREADS": str(len(CORES))}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *arguments.split()],
        cwd=project,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, CORES),
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{stage} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / GIB


if __name__ == "__main__":
    main(sys.argv[1], [int(rows) for rows in sys.argv[2:]] or list(ROWS))
