"""Stage `collect`: a data set's rows as labelled examples."""

from pathlib import Path

from stages.project.archives import member
from stages.project.errors import run
from stages.project.pins import archive_pin
from stages.text import bigbench, labelled, sources
from stages.text.tables import EXAMPLES_RAW, write_table


def main(dataset: str, out: Path) -> None:
    """Writes the labelled examples of DATASET to OUT."""
    entry = sources.labelled(dataset)
    pin = archive_pin(bigbench.ARCHIVE)
    task = member(pin, bigbench.member(entry.task), together=sources.MEMBERS)
    write_table(labelled.examples(entry, task, revision=f"{pin.project} {pin.version}"), EXAMPLES_RAW, out)


if __name__ == "__main__":
    run(main)
