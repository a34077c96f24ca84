"""`candor sweep`: runs the pipeline with several values of one param and tabulates the measures."""

from typing import Annotated

import typer

from stages.sweeps.runner import sweep as run_sweep


def sweep(
    key: Annotated[str, typer.Argument(help="A key of params.yaml, such as mix_ratio or filter.require.")],
    values: Annotated[list[str], typer.Argument(help="Its values; for a list, one name or several names in brackets.")],
) -> None:
    """Runs a DVC experiment for each of VALUES of KEY, and writes a table of all measures to reports/sweeps/KEY.csv.

    The last commit must hold a finished run. Params and outputs are restored afterwards; the page shows the table after
    the next `dvc repro`. To resume a stopped sweep, run the same command again. `dvc exp show` lists the experiments,
    and `dvc exp remove NAME` removes one.
    """
    print(f"{run_sweep(key, values)}: the measures of all settings; `dvc repro` shows them on the page")
