"""`candor sweep`: one key of params.yaml, several values, and the measures of each in one table."""

from typing import Annotated

import typer

from stages.sweeps.runner import sweep as run_sweep


def sweep(
    key: Annotated[str, typer.Argument(help="A key of params.yaml, such as mix_ratio or filter.require.")],
    values: Annotated[list[str], typer.Argument(help="Its values; of a list, one name, or several in brackets.")],
) -> None:
    """Runs a DVC experiment for each of the VALUES of KEY, and writes reports/sweeps/KEY.csv, a table of all measures.

    Begins where a run and its results are committed, and leaves parameters and outputs as they were: the page shows the
    table after the next `dvc repro`. A stopped sweep goes on with the same command; `dvc exp show` has its experiments,
    and `dvc exp remove NAME` forgets one.
    """
    print(f"{run_sweep(key, values)}: the measures of all settings; `dvc repro` shows them on the page")
