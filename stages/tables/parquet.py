"""Parquet tables: written atomically, and checked against their schema by writer and reader.

A table is written and can be read in row groups of ROWS, so that only one group has to be in memory. Equal rows give
equal bytes, regardless of the batches in which they were written.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.errors import UserError
from stages.core.files import atomic_file
from stages.tables.schemas import Schema

# So many prompts, the widest table, take 30 MB of memory.
ROWS = 16_384


def write_table(table: pl.DataFrame, schema: Schema, path: Path) -> None:
    """Writes `table` to `path` atomically, and checks its columns, types and key.

    Raises:
        UserError: the table does not match `schema`.
    """
    write_batches([table], schema, path)


def write_batches(batches: Iterable[pl.DataFrame], schema: Schema, path: Path) -> None:
    """Writes the rows of all batches as one table, otherwise like `write_table`.

    If `batches` raises an exception, nothing is written.
    """
    empty = pl.DataFrame(schema=schema.columns)
    with atomic_file(path) as temporary:
        # Without the stored Arrow schema, readers get plain strings and lists instead of polars' own Arrow types.
        with pq.ParquetWriter(
            temporary, empty.to_arrow().schema, compression="zstd", write_statistics=False, store_schema=False
        ) as writer:
            for group in _groups(empty, batches, schema, path):
                writer.write_table(group.to_arrow(), row_group_size=ROWS)
        _check_key(pl.scan_parquet(temporary), schema, path)


def read_table(path: Path, schema: Schema) -> pl.DataFrame:
    """Reads the table at `path`.

    Raises:
        UserError: the file is missing, is not parquet, or has other columns or types than `schema`.
    """
    return open_table(path, schema).columns(*schema.names)


@dataclass(frozen=True)
class TableFile:
    """A table on disk whose columns and key were checked; `height` is its number of rows.

    Damage to its data shows only when it is read, and raises UserError as in `read_table`.
    """

    path: Path
    height: int

    def columns(self, *names: str) -> pl.DataFrame:
        """Reads some of its columns, all rows."""
        with _readable(self.path):
            return pl.scan_parquet(self.path).select(names).collect()

    def iter_batches(self) -> Iterator[pl.DataFrame]:
        """Reads its rows in batches of at most ROWS, one of which is in memory at a time."""
        with _readable(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS):
                yield pl.DataFrame(batch)


def open_table(path: Path, schema: Schema) -> TableFile:
    """Checks the table at `path` and returns it for reading in parts.

    Raises:
        UserError: as in `read_table`.
    """
    table = pl.scan_parquet(path)
    with _readable(path):
        _check_columns(table.collect_schema(), schema, path)
        _check_key(table, schema, path)
        return TableFile(path, table.select(pl.len()).collect().item())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns the errors of polars and Arrow for a file that they cannot read into a UserError."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `dvc repro` makes it") from None
    except (pl.exceptions.ComputeError, pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a parquet table ({error}); delete it and run `dvc repro`") from None


def _groups(empty: pl.DataFrame, batches: Iterable[pl.DataFrame], schema: Schema, path: Path) -> Iterator[pl.DataFrame]:
    """The rows of all batches in tables of ROWS rows; the last one may be shorter."""
    pending = empty
    for batch in batches:
        _check_columns(batch.schema, schema, path)
        pending = pl.concat((pending, batch))
        while pending.height >= ROWS:
            yield pending.head(ROWS).rechunk()
            pending = pending.slice(ROWS)
    if pending.height:
        yield pending.rechunk()


def _check_columns(actual: pl.Schema, schema: Schema, path: Path) -> None:
    if actual != pl.Schema(schema.columns):
        raise UserError(
            f"{path} is not a table of {schema.name}: it has {dict(actual)}, expected {schema.columns}; "
            "run `dvc repro` to make it again"
        )


def _check_key(table: pl.LazyFrame, schema: Schema, path: Path) -> None:
    # Hashes need a tenth of the memory of the keys; the keys themselves are compared only where hashes are equal.
    key = pl.struct(schema.key)
    hashes = table.select(key.hash()).collect(engine="streaming").to_series()
    if hashes.n_unique() == hashes.len():
        return
    repeated = hashes.filter(hashes.is_duplicated()).unique()
    if table.filter(key.hash().is_in(repeated.implode())).select(key.is_duplicated().any()).collect().item():
        raise UserError(f"{path}: the key {', '.join(schema.key)} of the {schema.name} table is not unique")


def read_named_tables(folder: Path, names: tuple[str, ...], schema: Schema) -> pl.DataFrame:
    """Reads the tables `names` in `folder` and concatenates them.

    They are read by name and not with a glob, because DVC does not delete the file of a name that is no longer listed.
    """
    tables = [read_table(folder / f"{name}.parquet", schema) for name in names]
    return pl.concat([pl.DataFrame(schema=schema.columns), *tables])
