"""Stage `instruct`: an instruction set's rows as (input, target) pairs."""

from pathlib import Path

from stages.project.archives import member
from stages.project.errors import run
from stages.project.pins import archive_pin
from stages.text import bigbench, labelled, sources
from stages.text.tables import INSTRUCTIONS, write_table


def main(name: str, out: Path) -> None:
    """Writes the pairs of the instruction set NAME to OUT."""
    entry = sources.instructions(name)
    pin = archive_pin(bigbench.ARCHIVE)
    task = member(pin, bigbench.member(entry.task), together=sources.MEMBERS)
    write_table(labelled.pairs(entry, task, revision=f"{pin.project} {pin.version}"), INSTRUCTIONS, out)


if __name__ == "__main__":
    run(main)
