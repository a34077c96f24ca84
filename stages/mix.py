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
    """Mixes the prompts of FILTERED with the pairs of INSTRUCTIONS and the rows of LESSONS.

    Writes the training examples to OUT and the validation rows to OUT_VALIDATION.
    """
    params = read_params(MixParams)
    config = MixConfig(
        seed=params.seed,
        mix_ratio=params.mix_ratio,
        rows=params.rows,
        phases=[Phase(phase.share, phase.weights) for phase in params.phases],
        validation=params.validation,
    )
    prompts, pairs = read_table(filtered, FILTERED), read_table(instructions, INSTRUCTIONS)
    mixed = mixture(prompts, pairs, read_table(lessons, LESSONS), config)
    write_table(mixed.training, MIXTURE, out)
    write_table(mixed.validation, VALIDATION, out_validation)
    _print_sources(mixed.training, config)


def _print_sources(training: pl.DataFrame, config: MixConfig) -> None:
    counts = training.group_by("source").agg(rows=pl.len(), epochs=pl.col("epoch").max() + 1).sort("source")
    for source, rows, epochs in counts.iter_rows():
        print(f"{source}: {rows} of {training.height} examples, {epochs} time(s) through its rows")
    for name in sorted({name for phase in config.phases for name in phase.weights} - set(training["source"])):
        print(f"params.yaml: the weight of {name} in mix.phases is too small for a single example", file=sys.stderr)


if __name__ == "__main__":
    run(main)
