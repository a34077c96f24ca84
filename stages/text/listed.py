"""Tables of a folder, by the names that params.yaml lists."""

from pathlib import Path

import polars as pl

from stages.text.parquet import read_table
from stages.text.tables import Schema


def read_listed(folder: Path, names: tuple[str, ...], schema: Schema) -> pl.DataFrame:
    """The tables of `names` in `folder`, one after another.

    By name and never by a glob: DVC leaves the file of a name behind that is no longer listed.
    """
    tables = [read_table(folder / f"{name}.parquet", schema) for name in names]
    return pl.concat([pl.DataFrame(schema=schema.columns), *tables])
