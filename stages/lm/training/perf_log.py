"""The performance log: speed and memory of each step, as a CSV file in scratch.

It is no output of the stage, since outputs must not differ from run to run.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.lm.distributed import processes
from stages.lm.training.state import PERF_LOG_COLUMNS


@contextmanager
def perf_log(folder: Path) -> Iterator[Callable[[Sequence[float]], None]]:
    """Yields a function that appends a row of PERF_LOG_COLUMNS; each process has a file of its own."""
    path = folder / ("finetune.csv" if processes.is_first() else f"finetune-{processes.index()}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="", buffering=1) as file:
        writer = csv.writer(file)
        writer.writerow(PERF_LOG_COLUMNS)
        yield writer.writerow
