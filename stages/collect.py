"""Stage `collect`: fetches a data set and writes its rows as labelled examples."""

from pathlib import Path

from stages.core.errors import run
from stages.core.params import read_params
from stages.datasets import registry, rows
from stages.fetch.fetch import fetch
from stages.params.collect import CollectParams
from stages.tables.parquet import write_table
from stages.tables.schemas import EXAMPLES_RAW


def main(dataset: str, out: Path) -> None:
    """Writes the labelled examples of DATASET to OUT."""
    entry = registry.labelled(dataset)
    fetched = fetch(entry.files, read_params(CollectParams).hub, also_extract=registry.MEMBERS)
    write_table(rows.examples(entry, fetched.paths, fetched.revision), EXAMPLES_RAW, out)


if __name__ == "__main__":
    run(main)
