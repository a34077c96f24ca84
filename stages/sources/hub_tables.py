"""Rows of the hub's files, parquet or JSON lines, with their columns checked; label names as the files declare them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from stages.core.errors import UserError

_AGAIN = "get the file again (delete it if it lies in .candor/hub), or leave the set out of params.yaml"


def read_rows(name: str, files: Sequence[Path], columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """The rows of the set `name`, one file after another, with `columns` only, and `row`, their number from 0.

    Raises:
        UserError: a file is damaged or cut short, lacks a column or holds one of another type, or there is no row.
    """
    tables = [_checked(name, path, _read(name, path, list(columns)), columns) for path in files]
    table = pl.concat(tables).with_row_index("row")
    if table.is_empty():
        raise UserError(f"{name}: {', '.join(map(str, files))}: the split has no rows; {_AGAIN}")
    return table.with_columns(pl.col("row").cast(pl.Int64))


def label_names(path: Path, column: str) -> list[str] | None:
    """Names of a parquet file's class labels in index order, as `datasets` writes them; None where it says nothing."""
    declared = pl.read_parquet_metadata(path).get("huggingface")
    if declared is None:
        return None
    feature = json.loads(declared)["info"]["features"].get(column, {})
    names: list[str] | None = feature.get("names")
    return names


def _read(name: str, path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        if path.suffix == ".jsonl":
            # Not splitlines: a text may hold what Unicode takes for a line end, as U+2028.
            return pl.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line])
        there = pl.read_parquet_schema(path)
        _refuse_missing(name, path, list(there), columns)
        return pl.read_parquet(path, columns=columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: {path} is not UTF-8 ({error.reason} at byte {error.start}); {_AGAIN}") from None
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise UserError(f"{name}: {path} is damaged or cut short ({str(error).splitlines()[0]}); {_AGAIN}") from None


def _checked(name: str, path: Path, table: pl.DataFrame, columns: Mapping[str, Any]) -> pl.DataFrame:
    _refuse_missing(name, path, table.columns, list(columns))
    for column, kind in columns.items():
        found = table.schema[column]
        # Integers come in all widths.
        if found != kind and not (found.is_integer() and kind == pl.Int64):
            raise UserError(f"{name}: {path}: the column {column} is of type {found}, expected {kind}; {_AGAIN}")
    return table.select(pl.col(column).cast(kind) for column, kind in columns.items())


def _refuse_missing(name: str, path: Path, there: Sequence[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in there]
    if missing:
        raise UserError(f"{name}: {path} has no column {', '.join(missing)}; it has {', '.join(there)}; {_AGAIN}")
