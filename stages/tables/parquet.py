"""Tables on disk: parquet, whole or not at all, checked against their schema by writer and reader.

A table is written in row groups of ROWS, one after another, and can be read so: of a long one no more than a group has
to be in memory, and equal rows are equal bytes, in whatever pieces they came.
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

# Of prompts, the widest table, 30 MB in memory.
ROWS = 16_384


def write_table(table: pl.DataFrame, schema: Schema, path: Path) -> None:
    """Writes `table` at `path`, whole or not at all, and checks its columns, types and key."""
    write_batches([table], schema, path)


def write_batches(batches: Iterable[pl.DataFrame], schema: Schema, path: Path) -> None:
    """Writes the rows of `parts`, one after another, as one table; otherwise as `write_table`.

    What `parts` raises leaves nothing behind.
    """
    empty = pl.DataFrame(schema=schema.columns)
    with atomic_file(path) as temporary:
        # Without Arrow's own schema every reader finds plain strings and lists, whatever polars holds them in.
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

    What is damaged inside shows when it is read: a UserError, as of `read_table`.
    """

    path: Path
    height: int

    def columns(self, *names: str) -> pl.DataFrame:
        """Some of its columns, whole."""
        with _readable(self.path):
            return pl.scan_parquet(self.path).select(names).collect()

    def iter_batches(self) -> Iterator[pl.DataFrame]:
        """Its rows, one after another, of which only ROWS are in memory at a time."""
        with _readable(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS):
                yield pl.DataFrame(batch)


def open_table(path: Path, schema: Schema) -> TableFile:
    """The table at `path`, to be read in parts.

    Raises:
        UserError: as `read_table`.
    """
    table = pl.scan_parquet(path)
    with _readable(path):
        _check_columns(table.collect_schema(), schema, path)
        _check_key(table, schema, path)
        return TableFile(path, table.select(pl.len()).collect().item())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what polars and Arrow say of a file that they cannot read into a user's mistake."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `dvc repro` makes it") from None
    except (pl.exceptions.ComputeError, pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a parquet table ({error}); delete it and run `dvc repro`") from None


def _groups(empty: pl.DataFrame, parts: Iterable[pl.DataFrame], schema: Schema, path: Path) -> Iterator[pl.DataFrame]:
    """The rows of `parts` in tables of ROWS, but for the last."""
    held = empty
    for part in parts:
        _check_columns(part.schema, schema, path)
        held = pl.concat((held, part))
        while held.height >= ROWS:
            yield held.head(ROWS).rechunk()
            held = held.slice(ROWS)
    if held.height:
        yield held.rechunk()


def _check_columns(found: pl.Schema, schema: Schema, path: Path) -> None:
    if found != pl.Schema(schema.columns):
        raise UserError(
            f"{path} is not a table of {schema.name}: it has {dict(found)}, expected {schema.columns}; "
            "run `dvc repro` to make it anew"
        )


def _check_key(table: pl.LazyFrame, schema: Schema, path: Path) -> None:
    # Hashes take a tenth of the memory that the keys themselves would; keys are compared where hashes are equal.
    key = pl.struct(schema.key)
    hashes = table.select(key.hash()).collect(engine="streaming").to_series()
    if hashes.n_unique() == hashes.len():
        return
    repeated = hashes.filter(hashes.is_duplicated()).unique()
    if table.filter(key.hash().is_in(repeated.implode())).select(key.is_duplicated().any()).collect().item():
        raise UserError(f"{path}: the key {', '.join(schema.key)} of the {schema.name} table is not unique")


def read_named_tables(folder: Path, names: tuple[str, ...], schema: Schema) -> pl.DataFrame:
    """The tables of `names` in `folder`, one after another.

    By name and never by a glob: DVC leaves the file of a name behind that is no longer listed.
    """
    tables = [read_table(folder / f"{name}.parquet", schema) for name in names]
    return pl.concat([pl.DataFrame(schema=schema.columns), *tables])
