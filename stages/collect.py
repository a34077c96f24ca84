"""Stage `collect`: a data set's rows as labelled examples."""

from pathlib import Path

from stages.params.collect import CollectParams
from stages.project.errors import run
from stages.project.origins import fetch
from stages.project.params import read_params
from stages.text import labelled, sources
from stages.text.parquet import write_table
from stages.text.tables import EXAMPLES_RAW


def main(dataset: str, out: Path) -> None:
    """Writes the labelled examples of DATASET to OUT."""
    entry = sources.labelled(dataset)
    fetched = fetch(entry.files, read_params(CollectParams).hub, together=sources.MEMBERS)
    write_table(labelled.examples(entry, fetched.paths, fetched.revision), EXAMPLES_RAW, out)


if __name__ == "__main__":
    run(main)
