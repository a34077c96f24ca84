"""Stage `report`: metrics, filter reports, curves, answers, counts and sweeps -> a page, its figures, and cards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from stages.core.errors import run
from stages.core.files import atomic_dir, write_text
from stages.core.params import read_document, read_params
from stages.page.cards import card
from stages.page.charts.svg import png
from stages.page.data.inputs import (
    read_breakdown,
    read_counts,
    read_filter,
    read_losses,
    read_metrics,
    read_shortcuts,
    read_steps,
    read_sweep,
    read_training,
    read_validation,
)
from stages.page.page import Project, page, versions
from stages.page.sections import (
    Figure,
    ModelInputs,
    ModelPart,
    SweepPart,
    answers_of_suite,
    model_part,
    overview,
    sweep_part,
)
from stages.params.report import ReportParams
from stages.tables.parquet import read_table
from stages.tables.schemas import ANSWERS, QUESTIONS

Input = Annotated[Path, typer.Option()]


def main(
    out_html: Path,
    out_plots: Path,
    out_png: Path,
    out_cards: Path,
    metrics: Input,
    filter: Input,
    training: Input,
    validation: Input,
    tables: Input,
    curve: Input,
    data: Input,
    answers: Input,
    claims: Input,
    suites: Input,
    sweeps: Input,
) -> None:
    """Writes the report page of the listed models and of all sweeps, its figures as files, and measures for cards."""
    params = read_params(ReportParams)
    asked = [read_table(path, QUESTIONS) for path in (claims, *(suites / f"{name}.parquet" for name in params.suites))]
    # The listed models only, never what lies in the folders: a model taken off the list leaves its files behind.
    models = [
        ModelInputs(
            name=name,
            changes=read_metrics(metrics / f"{name}.json"),
            kept=read_filter(filter / f"{name}.json"),
            training=read_training(training / f"{name}.csv"),
            losses=read_losses(validation / f"{name}.csv"),
            base=read_table(answers / f"{name}-base.parquet", ANSWERS),
            tuned=read_table(answers / f"{name}-tuned.parquet", ANSWERS),
            questions=pl.concat(asked),
            behind=read_breakdown(tables / f"{name}.csv"),
            steps=read_steps(curve / f"{name}.csv"),
        )
        for name in params.models
    ]
    project = Project(
        counts=read_counts(data / "clean.json"),
        validation=read_validation(data / "validation.json"),
        shortcuts=read_shortcuts(data / "shortcuts.json"),
        params=read_document(),
        versions=versions(),
    )
    parts = [model_part(model, answers_of_suite(len(models))) for model in models]
    together = overview({model.name: model.changes for model in models}) if len(models) > 1 else None
    swept = _swept(sweeps)
    _write_figures(_by_file(parts, together, swept), out_plots, out_png)
    with atomic_dir(out_cards) as folder:
        for part in parts:
            (folder / f"{part.name}.md").write_text(card(part), encoding="utf-8", newline="\n")
    write_text(out_html, page(parts, together, swept, project))


def _swept(folder: Path) -> list[SweepPart]:
    # What lies in this folder is what was swept: no list names it, and git keeps it.
    return [sweep_part(path.stem, read_sweep(path)) for path in sorted(folder.glob("*.csv"))]


def _by_file(parts: Sequence[ModelPart], together: Figure | None, swept: Sequence[SweepPart]) -> dict[str, Figure]:
    """Every figure by the name of its file."""
    figures = {"all-models": together} if together else {}
    figures |= {f"{part.name}-{name}": figure for part in parts for name, figure in part.figures.items()}
    for sweep in swept:
        several = len(sweep.figures) > 1
        figures |= {f"sweep-{sweep.key}" + several * f"-{model}": figure for model, figure in sweep.figures.items()}
    return figures


def _write_figures(figures: Mapping[str, Figure], out_plots: Path, out_png: Path) -> None:
    with atomic_dir(out_plots) as plots, atomic_dir(out_png) as pictures:
        for name, figure in figures.items():
            (plots / f"{name}.svg").write_text(figure.svg + "\n", encoding="utf-8", newline="\n")
            (pictures / f"{name}.png").write_bytes(png(figure.svg))


if __name__ == "__main__":
    run(main)
