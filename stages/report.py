"""Stage `report`: metrics, filter reports, training curves, answers and counts -> a page, its figures, and cards."""

from pathlib import Path
from typing import Annotated

import typer

from stages.page.cards import card
from stages.page.inputs import (
    read_counts,
    read_filter,
    read_metrics,
    read_shortcuts,
    read_training,
    read_validation,
)
from stages.page.page import ModelInputs, model_part, page, versions
from stages.params.report import ReportParams
from stages.project.errors import run
from stages.project.files import whole_folder, write_text
from stages.project.params import read_params
from stages.text.tables import ANSWERS, read_table

Folder = Annotated[Path, typer.Option()]


def main(
    out_html: Path,
    out_plots: Path,
    out_cards: Path,
    metrics: Folder,
    filter: Folder,
    training: Folder,
    data: Folder,
    answers: Folder,
) -> None:
    """Writes the report page of the listed models, each of its figures as a file, and the measures for their cards."""
    params = read_params(ReportParams)
    # The listed models only, never what lies in the folders: a model taken off the list leaves its files behind.
    models = [
        ModelInputs(
            name=name,
            changes=read_metrics(metrics / f"{name}.json"),
            kept=read_filter(filter / f"{name}.json"),
            training=read_training(training / f"{name}.csv"),
            base=read_table(answers / f"{name}-base.parquet", ANSWERS),
            tuned=read_table(answers / f"{name}-tuned.parquet", ANSWERS),
        )
        for name in params.models
    ]
    counts, validation = read_counts(data / "clean.json"), read_validation(data / "validation.json")
    shortcuts = read_shortcuts(data / "shortcuts.json")
    parts = [model_part(model, f"m{number}") for number, model in enumerate(models, start=1)]
    with whole_folder(out_plots) as folder:
        for part in parts:
            for figure in part.figures.values():
                (folder / f"{part.name}-{figure.name}.svg").write_text(
                    figure.svg + "\n", encoding="utf-8", newline="\n"
                )
    with whole_folder(out_cards) as folder:
        for part in parts:
            (folder / f"{part.name}.md").write_text(card(part), encoding="utf-8", newline="\n")
    write_text(out_html, page(parts, counts, validation, shortcuts, versions()))


if __name__ == "__main__":
    run(main)
