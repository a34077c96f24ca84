"""Writes a project with a tiny model and synthetic examples: `python -m bench.memory.prompts FOLDER COUNT`."""

import sys
from pathlib import Path

import polars as pl

from stages.core.params import read_document
from stages.tables.parquet import write_table
from stages.tables.schemas import EXAMPLES, HELD_OUT, TRAIN
from tests.miniature.models import write_model
from tests.miniature.project import write_yaml

HELD_OUT_EXAMPLES = 64


def main(project: Path, count: int) -> None:
    """Writes `count` training examples of 77 characters, which differ only in a number, and a few held-out ones."""
    number = pl.int_range(count + HELD_OUT_EXAMPLES, dtype=pl.Int64)
    examples = pl.select(row=number).select(
        example=pl.format("implicatures:{}", "row"),
        dataset=pl.lit("implicatures"),
        text=pl.format(
            "\"Speaker 1: 'Did my aunt repair kettle {}?' Speaker 2: 'It whistles again.'\"",
            pl.col("row").cast(pl.String).str.zfill(9),
        ),
        label=(pl.col("row") % 2).cast(pl.Int32),
        label_words=pl.lit(["Yes", "No"]),
        cluster=pl.format("implicatures:{}", "row"),
        source=pl.lit("invented"),
        revision=pl.lit("1"),
        split=pl.lit("default"),
        row="row",
        licence=pl.lit("CC0-1.0"),
        part=pl.when(pl.col("row") < count).then(pl.lit(TRAIN)).otherwise(pl.lit(HELD_OUT)),
    )
    project.mkdir(parents=True)
    write_table(examples, EXAMPLES, project / "data/examples.parquet")
    write_model(project / "model", seed=0)
    params = read_document(Path("params.yaml"))
    params["datasets"] = ["implicatures"]
    params["prompt"] |= {"count": count, "most_per_dataset": 0}
    write_yaml(params, project / "params.yaml")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
