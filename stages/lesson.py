"""Stage `lesson`: instruction data made of the training examples."""

from pathlib import Path

import polars as pl

from stages.params.lesson import LessonParams
from stages.project.errors import run
from stages.project.params import read_params
from stages.text.cleaning import TRAIN
from stages.text.lessons import Plan, lesson_rows
from stages.text.parquet import read_table, write_table
from stages.text.tables import EXAMPLES, LESSONS


def main(examples: Path, out: Path) -> None:
    """Makes the listed lessons of the training part of EXAMPLES."""
    knobs = read_params(LessonParams)
    train = read_table(examples, EXAMPLES).filter(pl.col("part") == TRAIN)
    plan = Plan(knobs.seed, knobs.texts, knobs.user_right)
    write_table(lesson_rows(knobs.lessons, train, plan), LESSONS, out)


if __name__ == "__main__":
    run(main)
