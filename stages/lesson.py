"""Stage `lesson`: instruction data made from the training examples."""

from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.params import read_params
from stages.params.lesson import LessonParams
from stages.tables.parquet import read_table, write_table
from stages.tables.schemas import EXAMPLES, LESSONS, TRAIN
from stages.text.mixing.lessons import LessonConfig, lesson_rows


def main(examples: Path, out: Path) -> None:
    """Makes the listed lessons from the training part of EXAMPLES and writes their rows to OUT."""
    params = read_params(LessonParams)
    train = read_table(examples, EXAMPLES).filter(pl.col("part") == TRAIN)
    config = LessonConfig(params.seed, params.texts, params.user_right)
    write_table(lesson_rows(params.lessons, train, config), LESSONS, out)


if __name__ == "__main__":
    run(main)
