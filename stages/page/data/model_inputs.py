"""What the report reads: where each file is, and everything about one model."""

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
        """What the stage reads."""
        folders = ("metrics", "filter", "training", "validation", "tables", "curve", "data", "sweeps")
        return [
            *(self.reports / name for name in folders),
            self.data / "answers",
            self.data / "claims.parquet",
            self.data / "suites",
        ]

    @property
    def outputs(self) -> list[Path]:
        """What the stage writes: the page, figures as SVG and as PNG, and cards."""
        return [self.reports / name for name in ("index.html", "plots", "png", "cards")]

    def questions(self, suites: tuple[str, ...]) -> pl.DataFrame:
        """The held-out claims and the questions of the listed suites."""
        paths = [self.data / "claims.parquet", *(self.data / f"suites/{name}.parquet" for name in suites)]
        return pl.concat([read_table(path, QUESTIONS) for path in paths])

    def sweeps(self) -> list[Path]:
        """The tables of all sweeps: no list names them, and git keeps them."""
        return sorted((self.reports / "sweeps").glob("*.csv"))


@dataclass(frozen=True)
class ModelInputs:
    """What the page is told about one model.

    `base` and `tuned` are ANSWERS tables, `questions` the QUESTIONS that they answer; `training`, `losses`,
    `breakdown` and `steps` are as the functions `read_…` of `stages.page.data.report_files` give them.
    """

    name: str
    changes: Mapping[str, Change]
    kept: FilterReport
    training: pl.DataFrame
    losses: pl.DataFrame
    base: pl.DataFrame
    tuned: pl.DataFrame
    questions: pl.DataFrame
    breakdown: pl.DataFrame
    steps: pl.DataFrame


def read_model(name: str, files: ReportFiles, questions: pl.DataFrame) -> ModelInputs:
    """Everything about the model `name`.

    Raises:
        UserError: a file is missing or has another form.
    """
    reports, answers = files.reports, files.data / "answers"
    return ModelInputs(
        name=name,
        changes=read_metrics(reports / f"metrics/{name}.json"),
        kept=read_filter(reports / f"filter/{name}.json"),
        training=read_training(reports / f"training/{name}.csv"),
        losses=read_losses(reports / f"validation/{name}.csv"),
        base=read_table(answers / f"{name}-base.parquet", ANSWERS),
        tuned=read_table(answers / f"{name}-tuned.parquet", ANSWERS),
        questions=questions,
        breakdown=read_breakdown(reports / f"tables/{name}.csv"),
        steps=read_steps(reports / f"curve/{name}.csv"),
    )
