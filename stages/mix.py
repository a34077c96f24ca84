"""Stage `mix`: the training examples, in training order."""

import sys
from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.params import read_params
from stages.params.mix import MixParams
from stages.tables.parquet import read_table, write_table
from stages.tables.schemas import FILTERED, INSTRUCTIONS, LESSONS, MIXTURE, VALIDATION
from stages.text.mixing.mixture import MixConfig, Phase, mixture


def main(filtered: Path, instructions: Path, lessons: Path, out: Path, out_validation: Path) -> None:
    """Mixes the prompts of FILTERED with the pairs of INSTRUCTIONS and the rows of LESSONS; sets some aside."""
    knobs = read_params(MixParams)
    config = MixConfig(
        seed=knobs.seed,
        mix_ratio=knobs.mix_ratio,
        rows=knobs.rows,
        phases=[Phase(phase.share, phase.weights) for phase in knobs.phases],
        validation=knobs.validation,
    )
    prompts, pairs = read_table(filtered, FILTERED), read_table(instructions, INSTRUCTIONS)
    mixed = mixture(prompts, pairs, read_table(lessons, LESSONS), config)
    table = mixed.training
    write_table(table, MIXTURE, out)
    write_table(mixed.validation, VALIDATION, out_validation)
    for source, rows, epochs in table.group_by("source").agg(_rows(), _epochs()).sort("source").iter_rows():
        print(f"{source}: {rows} of {table.height} examples, {epochs} time(s) through its rows")
    for name in sorted({name for phase in config.phases for name in phase.weights} - set(table["source"])):
        print(f"mix.phases gives {name} a weight that comes to no example", file=sys.stderr)


def _rows() -> pl.Expr:
    return pl.len().alias("rows")


def _epochs() -> pl.Expr:
    return (pl.col("epoch").max() + 1).alias("epochs")


if __name__ == "__main__":
    run(main)
