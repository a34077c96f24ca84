"""Stage `instruct`: fetches an instruction set and writes its rows as (input, target) pairs."""

from pathlib import Path

from stages.core.errors import run
from stages.core.params import read_params
from stages.datasets import registry, rows
from stages.fetch.fetch import fetch
from stages.params.instruct import InstructParams
from stages.tables.parquet import write_table
from stages.tables.schemas import INSTRUCTIONS


def main(name: str, out: Path) -> None:
    """Writes the pairs of the instruction set NAME to OUT."""
    entry = registry.instructions(name)
    fetched = fetch(entry.files, read_params(InstructParams).hub, also_extract=registry.MEMBERS)
    write_table(rows.pairs(entry, fetched.paths, fetched.revision), INSTRUCTIONS, out)


if __name__ == "__main__":
    run(main)
