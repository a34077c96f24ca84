"""Stage `suite`: an evaluation's questions, ready to ask."""

from pathlib import Path

from stages.params.suite import SuiteParams
from stages.project.errors import run
from stages.project.params import read_params
from stages.text import suites
from stages.text.tables import QUESTIONS, write_table


def main(name: str, out: Path) -> None:
    """Writes the questions of the suite NAME to OUT."""
    knobs = read_params(SuiteParams)
    write_table(suites.suite(name)(knobs.seed, knobs.sums), QUESTIONS, out)


if __name__ == "__main__":
    run(main)
