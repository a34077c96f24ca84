"""The logs of a fine-tuning as CSV files with rounded numbers, for people and for DVC's plots."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from stages.core.files import atomic_file

_COUNTS = ("step", "target_tokens", "example_tokens")


def write_train_log(log: np.ndarray, columns: Sequence[str], path: Path) -> None:
    """Writes the log [steps, columns], a row for each step."""
    table = pl.DataFrame(log.astype(np.float64), schema=list(columns))
    _write_csv(table.with_columns(pl.col(_COUNTS).cast(pl.Int64)), path)


def write_validation_log(log: np.ndarray, steps: Sequence[int], sources: Sequence[str], path: Path) -> None:
    """Writes the log [steps, sources] as a long table, a row for each step and source."""
    rows = [
        (step, source, float(loss))
        for step, losses in zip(steps, log, strict=True)
        for source, loss in zip(sources, losses, strict=True)
    ]
    schema = {"step": pl.Int64, "source": pl.String, "loss": pl.Float64}
    _write_csv(pl.DataFrame(rows, schema=schema, orient="row"), path)


def _write_csv(table: pl.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        table.with_columns(pl.selectors.float().round_sig_figs(6)).write_csv(temporary)
