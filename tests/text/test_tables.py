"""Tables on disk: what is written is read back, and what is no such table is refused with its file's name."""

from pathlib import Path

import polars as pl
import pytest

from stages.project.errors import UserError
from stages.text.tables import SCHEMAS, TURNS, Schema, read_table, write_table

TOYS = Schema("toys", {"toy": pl.String, "wheels": pl.Int32, "said": TURNS}, ("toy",))
ROWS = pl.DataFrame(
    {"toy": ["car", "top"], "wheels": [4, 0], "said": [[{"role": "user", "text": "brr"}], []]}, schema=TOYS.columns
)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_table(path, TOYS)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "toys.parquet"
    write_table(ROWS, TOYS, path)
    assert read_table(path, TOYS).equals(ROWS)
    assert read_table(path, TOYS).schema == pl.Schema(TOYS.columns)
    assert [file.name for file in path.parent.iterdir()] == ["toys.parquet"]


def test_equal_tables_have_equal_bytes(tmp_path: Path) -> None:
    write_table(ROWS, TOYS, tmp_path / "one.parquet")
    write_table(pl.concat([ROWS.head(1), ROWS.tail(1)]), TOYS, tmp_path / "other.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    write_table(ROWS.clear(), TOYS, tmp_path / "toys.parquet")
    assert read_table(tmp_path / "toys.parquet", TOYS).height == 0


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


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    assert refusal(tmp_path / "toys.parquet") == " does not exist; `dvc repro` makes it"


@pytest.mark.parametrize("content", [b"", b"toy,wheels\n", b"PAR1 cut off"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toys.parquet"
    path.write_bytes(content)
    line = refusal(path)
    assert line.startswith(" is not a parquet table (")
    assert line.endswith("; delete it and run `dvc repro`")


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_a_schemas_key_is_among_its_columns(schema: Schema) -> None:
    assert schema.key
    assert set(schema.key) <= set(schema.names)
    assert [one.name for one in SCHEMAS].count(schema.name) == 1
