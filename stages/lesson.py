"""Stage `lesson`: instruction data made of the training examples."""

from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.params import read_params
from stages.params.lesson import LessonParams
from stages.tables.parquet import read_table, write_table
from stages.tables.schemas import EXAMPLES, LESSONS, TRAIN
from stages.text.mixing.lessons import LessonConfig, lesson_rows


def main(examples: Path, out: Path) -> None:
    """Makes the listed lessons of the training part of EXAMPLES."""
    knobs = read_params(LessonParams)
    train = read_table(examples, EXAMPLES).filter(pl.col("part") == TRAIN)
    plan = LessonConfig(knobs.seed, knobs.texts, knobs.user_right)
    write_table(lesson_rows(knobs.lessons, train, plan), LESSONS, out)


if __name__ == "__main__":
    run(main)
