"""Stage `mix`: the training examples, in training order."""

from pathlib import Path

import polars as pl

from stages.params.mix import MixParams
from stages.project.errors import run
from stages.project.params import read_params
from stages.text.mixture import mixture
from stages.text.tables import FILTERED, INSTRUCTIONS, MIXTURE, read_table, write_table


def main(filtered: Path, instructions: Path, out: Path) -> None:
    """Mixes the prompts of FILTERED with pairs of INSTRUCTIONS."""
    knobs = read_params(MixParams)
    prompts, pairs = read_table(filtered, FILTERED), read_table(instructions, INSTRUCTIONS)
    table = mixture(prompts, pairs, knobs.seed, knobs.mix_ratio, knobs.rows)
    write_table(table, MIXTURE, out)
    for kind, rows, epochs in table.group_by("kind", maintain_order=True).agg(_rows(), _epochs()).iter_rows():
        print(f"{kind}: {rows} of {table.height} examples, {epochs} time(s) through its rows")


def _rows() -> pl.Expr:
    return pl.len().alias("rows")


def _epochs() -> pl.Expr:
    return (pl.col("epoch").max() + 1).alias("epochs")


if __name__ == "__main__":
    run(main)
