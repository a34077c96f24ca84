"""The inputs of the report: the paths of its files, and the tables and reports of one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.page.data.report_files import (
    Change,
    FilterReport,
    read_breakdown,
    read_filter,
    read_losses,
    read_metrics,
    read_steps,
    read_training,
)
from stages.tables.parquet import read_table
from stages.tables.schemas import ANSWERS, QUESTIONS


@dataclass(frozen=True)
class ReportFiles:
    """The files of stage `report`, by their fixed names in the folders reports/ and data/."""

    reports: Path
    data: Path

    @property
    def inputs(self) -> list[Path]:
        """The files and folders that the stage reads."""
        folders = ("metrics", "filter", "training", "validation", "tables", "curve", "data", "sweeps")
        return [
            *(self.reports / name for name in folders),
            self.data / "answers",
            self.data / "claims.parquet",
            self.data / "suites",
        ]

    @property
    def outputs(self) -> list[Path]:
        """The files and folders that the stage writes: the page, figures as SVG and as PNG, and cards."""
        return [self.reports / name for name in ("index.html", "plots", "png", "cards")]

    def questions(self, suites: tuple[str, ...]) -> pl.DataFrame:
        """The held-out claims and the questions of the listed suites."""
        paths = [self.data / "claims.parquet", *(self.data / f"suites/{name}.parquet" for name in suites)]
        return pl.concat([read_table(path, QUESTIONS) for path in paths])

    def sweeps(self) -> list[Path]:
        """The tables of all sweeps; params.yaml does not list them, so all that are there count."""
        return sorted((self.reports / "sweeps").glob("*.csv"))


@dataclass(frozen=True)
class ModelInputs:
    """The page's data about one model.

    `base` and `tuned` are ANSWERS tables and `questions` is a QUESTIONS table; `training`, `losses`, `breakdown` and
    `steps` come from the functions `read_…` of `stages.page.data.report_files`.
    """

    name: str
    changes: Mapping[str, Change]
    filter_report: FilterReport
    training: pl.DataFrame
    losses: pl.DataFrame
    base: pl.DataFrame
    tuned: pl.DataFrame
    questions: pl.DataFrame
    breakdown: pl.DataFrame
    steps: pl.DataFrame


def read_model(name: str, files: ReportFiles, questions: pl.DataFrame) -> ModelInputs:
    """Reads the files of the model `name`.

    Raises:
        UserError: a file is missing or malformed.
    """
    reports, answers = files.reports, files.data / "answers"
    return ModelInputs(
        name=name,
        changes=read_metrics(reports / f"metrics/{name}.json"),
        filter_report=read_filter(reports / f"filter/{name}.json"),
        training=read_training(reports / f"training/{name}.csv"),
        losses=read_losses(reports / f"validation/{name}.csv"),
        base=read_table(answers / f"{name}-base.parquet", ANSWERS),
        tuned=read_table(answers / f"{name}-tuned.parquet", ANSWERS),
        questions=questions,
        breakdown=read_breakdown(reports / f"tables/{name}.csv"),
        steps=read_steps(reports / f"curve/{name}.csv"),
    )
