"""Reads the hub's data files, parquet or JSON lines, and checks their columns; reads the label names they declare."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from stages.core.errors import UserError

_REMEDY = "get the file again (delete it if it is in .candor/hub), or remove the set from params.yaml"


def read_rows(name: str, files: Sequence[Path], columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """The rows of the set `name`, file after file: only `columns`, and `row`, their number from 0.

    Raises:
        UserError: a file is damaged or cut short, lacks a column or has it with another type, or there are no rows.
    """
    tables = [_cast(name, path, _read(name, path, list(columns)), columns) for path in files]
    table = pl.concat(tables).with_row_index("row")
    if table.is_empty():
        raise UserError(f"{name}: {', '.join(map(str, files))}: the split has no rows; {_REMEDY}")
    return table.with_columns(pl.col("row").cast(pl.Int64))


def label_names(path: Path, column: str) -> list[str] | None:
    """The class labels that `datasets` wrote into a parquet file's metadata, in index order; None without metadata."""
    declared = pl.read_parquet_metadata(path).get("huggingface")
    if declared is None:
        return None
    feature = json.loads(declared)["info"]["features"].get(column, {})
    names: list[str] | None = feature.get("names")
    return names


def _read(name: str, path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        if path.suffix == ".jsonl":
            # Not splitlines: a text may contain other Unicode line ends, such as U+2028.
            return pl.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line])
        _refuse_missing(name, path, list(pl.read_parquet_schema(path)), columns)
        return pl.read_parquet(path, columns=columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: {path} is not UTF-8 ({error.reason} at byte {error.start}); {_REMEDY}") from None
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise UserError(f"{name}: {path} is damaged or cut short ({str(error).splitlines()[0]}); {_REMEDY}") from None


def _cast(name: str, path: Path, table: pl.DataFrame, columns: Mapping[str, Any]) -> pl.DataFrame:
    _refuse_missing(name, path, table.columns, list(columns))
    for column, expected in columns.items():
        dtype = table.schema[column]
        # Files store integers in all widths.
        if dtype != expected and not (dtype.is_integer() and expected == pl.Int64):
            raise UserError(f"{name}: {path}: the column {column} has type {dtype}, expected {expected}; {_REMEDY}")
    return table.select(pl.col(column).cast(dtype) for column, dtype in columns.items())


def _refuse_missing(name: str, path: Path, present: Sequence[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in present]
    if missing:
        raise UserError(f"{name}: {path} has no column {', '.join(missing)}; it has {', '.join(present)}; {_REMEDY}")
