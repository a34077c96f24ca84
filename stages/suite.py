"""Stage `suite`: an evaluation's questions, ready to ask."""

from pathlib import Path

from stages.params.suite import SuiteParams
from stages.project.errors import run
from stages.project.origins import fetch
from stages.project.params import read_params
from stages.text import suites
from stages.text.tables import QUESTIONS, write_table


def main(name: str, out: Path) -> None:
    """Writes the questions of the suite NAME to OUT."""
    knobs = read_params(SuiteParams)
    entry = suites.suite(name)
    files = tuple(fetch(origin, knobs.hub).files for origin in entry.files)
    plan = suites.Plan(
        knobs.seed, knobs.sums, knobs.surveyed, knobs.per_task, knobs.political_prefix, knobs.fidelity == "reference"
    )
    write_table(entry.make(name, plan, files), QUESTIONS, out)


if __name__ == "__main__":
    run(main)
