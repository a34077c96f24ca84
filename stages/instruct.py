"""Stage `instruct`: an instruction set's rows as (input, target) pairs."""

from pathlib import Path

from stages.params.instruct import InstructParams
from stages.project.errors import run
from stages.project.origins import fetch
from stages.project.params import read_params
from stages.text import labelled, sources
from stages.text.parquet import write_table
from stages.text.tables import INSTRUCTIONS


def main(name: str, out: Path) -> None:
    """Writes the pairs of the instruction set NAME to OUT."""
    entry = sources.instructions(name)
    fetched = fetch(entry.files, read_params(InstructParams).hub, together=sources.MEMBERS)
    write_table(labelled.pairs(entry, fetched.paths, fetched.revision), INSTRUCTIONS, out)


if __name__ == "__main__":
    run(main)
