"""data/README.md as a data set card: `datasets.load_dataset` opens each table by its name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from stages.tables.schemas import SCHEMAS, Schema

ROOT = Path(__file__).parents[1]
FILES = {
    "raw": ("raw/toys.parquet", "raw/dolls.parquet"),
    "instructions": ("instructions/tips.parquet",),
    "questions": ("suites/addition.parquet", "claims.parquet"),
    "judged": ("judged/tiny.parquet",),
    "filtered": ("filtered/tiny.parquet",),
    "mixture": ("mixture/tiny.parquet",),
    "validation": ("validation/tiny.parquet",),
    "answers": ("answers/tiny-base.parquet", "answers/tiny-tuned.parquet"),
}
# A separate process, because the library takes seconds to import and its deprecation warnings would fail the test.
OPEN = """
import sys, datasets
for name in sys.argv[2:]:
    table = datasets.load_dataset(sys.argv[1], name)["train"]
    print(name, table.num_rows, *table.column_names)
"""


def row(schema: Schema) -> pl.DataFrame:
    values: dict[Any, Any] = {
        pl.String: "text",
        pl.Boolean: True,
        pl.Int32: 1,
        pl.Int64: 1,
        pl.List(pl.String): ["text"],
        pl.Float32: 0.5,
        pl.List(pl.Float32): [0.5],
    }
    turns = [{"role": "user", "text": "text"}]
    return pl.DataFrame(
        [{name: values.get(kind, turns) for name, kind in schema.columns.items()}], schema=schema.columns
    )


def test_every_table_opens_by_its_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copyfile(ROOT / "data" / "README.md", data / "README.md")
    tables = {schema.name: (row(schema), FILES.get(schema.name, (f"{schema.name}.parquet",))) for schema in SCHEMAS}
    tables["pairs"] = (tables["instructions"][0], ("pairs.parquet",))
    for table, files in tables.values():
        for file in files:
            (data / file).parent.mkdir(exist_ok=True)
            table.write_parquet(data / file)
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(data), *tables], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{name} {len(files)} {' '.join(table.columns)}" for name, (table, files) in tables.items()
    ]
