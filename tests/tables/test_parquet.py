"""Parquet tables: a table that was written is read back, and the name of a wrong or damaged file is reported."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from stages.core.errors import UserError
from stages.tables import parquet
from stages.tables.parquet import open_table, read_table, write_batches, write_table
from stages.tables.schemas import TURNS, Schema
from tests.helpers.refusals import refusal_of

TOYS = Schema("toys", {"toy": pl.String, "wheels": pl.Int32, "said": TURNS}, ("toy",))
ROWS = pl.DataFrame(
    {"toy": ["car", "top"], "wheels": [4, 0], "said": [[{"role": "user", "text": "brr"}], []]}, schema=TOYS.columns
)


def refusal(path: Path) -> str:
    return refusal_of(lambda: read_table(path, TOYS), path).removeprefix(str(path))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "toys.parquet"
    write_table(ROWS, TOYS, path)
    assert read_table(path, TOYS).equals(ROWS)
    assert read_table(path, TOYS).schema == pl.Schema(TOYS.columns)
    assert [file.name for file in path.parent.iterdir()] == ["toys.parquet"]


def many(count: int) -> pl.DataFrame:
    number = pl.int_range(count)
    said = pl.concat_list(pl.struct(role=pl.lit("user"), text=pl.format("brr {}", number)))
    return pl.select(toy=pl.format("toy {}", number), wheels=number.cast(pl.Int32), said=said)


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 10])
def test_a_tables_bytes_do_not_depend_on_its_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(parquet, "ROWS", 4)
    table = many(10)
    write_table(table, TOYS, tmp_path / "whole.parquet")
    write_batches(table.iter_slices(rows), TOYS, tmp_path / "parts.parquet")
    write_table(pl.concat(table.iter_slices(rows)), TOYS, tmp_path / "chunks.parquet")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert read_table(tmp_path / "parts.parquet", TOYS).equals(table)
    stored = open_table(tmp_path / "parts.parquet", TOYS)
    parts = list(stored.iter_batches())
    assert stored.height == 10 and [part.height for part in parts] == [4, 4, 2]
    assert pl.concat(parts).equals(table)
    assert stored.columns("wheels").equals(table.select("wheels"))


def test_a_table_of_one_row_group_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 4)
    many(10).write_parquet(tmp_path / "toys.parquet")
    parts = list(open_table(tmp_path / "toys.parquet", TOYS).iter_batches())
    assert [part.height for part in parts] == [4, 4, 2] and pl.concat(parts).equals(many(10))


def test_a_group_is_on_disk_before_the_next_batch_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With batches of two rows and groups of four."""
    monkeypatch.setattr(parquet, "ROWS", 4)
    sizes: list[int] = []

    def parts() -> Iterator[pl.DataFrame]:
        for part in many(12).iter_slices(2):
            [file] = tmp_path.iterdir()
            sizes.append(file.stat().st_size)
            yield part

    write_batches(parts(), TOYS, tmp_path / "toys.parquet")
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3] < sizes[4] == sizes[5]


@pytest.mark.parametrize(
    "table",
    [
        ROWS.drop("wheels"),
        ROWS.with_columns(colour=pl.lit("red")),
        ROWS.with_columns(pl.col("wheels").cast(pl.Int64)),
        ROWS.rename({"wheels": "axles"}),
        ROWS.select(reversed(ROWS.columns)),
    ],
)
def test_other_columns_or_types_are_neither_written_nor_read(tmp_path: Path, table: pl.DataFrame) -> None:
    path = tmp_path / "toys.parquet"
    with pytest.raises(UserError, match="is not a table of toys: it has"):
        write_table(table, TOYS, path)
    assert list(tmp_path.iterdir()) == []
    table.write_parquet(path)
    assert refusal(path).startswith(" is not a table of toys: it has")


def test_a_row_that_is_there_twice_is_neither_written_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "toys.parquet"
    twice = ROWS.with_columns(toy=pl.lit("car"))
    with pytest.raises(UserError, match="the key toy of the toys table is not unique"):
        write_table(twice, TOYS, path)
    assert not path.exists()
    twice.write_parquet(path)
    assert refusal(path) == ": the key toy of the toys table is not unique"


def test_a_key_of_two_columns_is_unique_together(tmp_path: Path) -> None:
    both = Schema("toys", TOYS.columns, ("toy", "wheels"))
    write_table(ROWS.with_columns(toy=pl.lit("car")), both, tmp_path / "toys.parquet")
    with pytest.raises(UserError, match="the key toy, wheels of"):
        write_table(pl.concat([ROWS, ROWS]), both, tmp_path / "toys.parquet")


def test_a_failed_write_leaves_the_table_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "toys.parquet"
    write_table(ROWS, TOYS, path)
    with pytest.raises(UserError):
        write_table(ROWS.drop("toy"), TOYS, path)
    assert read_table(path, TOYS).equals(ROWS)


def test_parts_that_fail_leave_the_table_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 1)
    path = tmp_path / "toys.parquet"
    write_table(ROWS, TOYS, path)

    def parts() -> Iterator[pl.DataFrame]:
        yield many(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_batches(parts(), TOYS, path)
    with pytest.raises(UserError, match="is not a table of toys"):
        write_batches([many(3), many(3).drop("said")], TOYS, path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_table(path, TOYS).equals(ROWS)


def test_keys_are_compared_where_their_hashes_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hash that is equal for all names of three letters."""
    monkeypatch.setattr(pl.Expr, "hash", lambda key: key.struct.field("toy").str.len_bytes())
    write_table(ROWS, TOYS, tmp_path / "toys.parquet")
    assert read_table(tmp_path / "toys.parquet", TOYS).equals(ROWS)
    with pytest.raises(UserError, match="the key toy of the toys table is not unique"):
        write_table(pl.concat([ROWS, ROWS]), TOYS, tmp_path / "toys.parquet")


def test_the_name_of_a_table_with_damaged_data_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "toys.parquet"
    write_table(many(2_000), TOYS, path)
    column = next(column for column in columns_of(path) if column.path_in_schema == "said.list.element.text")
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[start + 100 : start + column.total_compressed_size] = bytes(column.total_compressed_size - 100)
    path.write_bytes(content)
    assert refusal(path).startswith(" is not a parquet table (")
    with pytest.raises(UserError, match=r" is not a parquet table \(.*; delete it and run `dvc repro`$"):
        list(open_table(path, TOYS).iter_batches())


def columns_of(path: Path) -> list[pq.ColumnChunkMetaData]:
    group = pq.ParquetFile(path).metadata.row_group(0)
    return [group.column(number) for number in range(group.num_columns)]


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    assert refusal(tmp_path / "toys.parquet") == " does not exist; `dvc repro` makes it"


@pytest.mark.parametrize("content", [b"", b"toy,wheels\n", b"PAR1 cut off"])
def test_the_name_of_a_file_that_is_not_parquet_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toys.parquet"
    path.write_bytes(content)
    line = refusal(path)
    assert line.startswith(" is not a parquet table (")
    assert line.endswith("; delete it and run `dvc repro`")
