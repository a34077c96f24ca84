"""Stage `report`: metrics, filter reports, logs, answers, counts and sweeps become a page, its figures, and cards."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.core.errors import run
from stages.core.files import atomic_dir, write_text
from stages.core.params import read_document, read_params
from stages.page.cards import card
from stages.page.charts.svg import png
from stages.page.data.model_inputs import ReportFiles, read_model
from stages.page.data.report_files import read_counts, read_shortcuts, read_sweep, read_validation
from stages.page.page import Project, page, versions
from stages.page.sections import Figure, ModelPart, SweepPart, answers_of_suite, model_part, overview, sweep_part
from stages.params.report import ReportParams


def main(reports: Path, data: Path) -> None:
    """Writes the report page of the listed models and of all sweeps, its figures as files, and measures for cards.

    Reads and writes the fixed names of `ReportFiles` in the folders REPORTS and DATA.
    """
    params, files = read_params(ReportParams), ReportFiles(reports, data)
    questions = files.questions(params.suites)
    # The listed models only: a model that was removed from the list leaves its files behind.
    models = [read_model(name, files, questions) for name in params.models]
    project = _project(reports / "data")
    parts = [model_part(model, answers_of_suite(len(models))) for model in models]
    together = overview({model.name: model.changes for model in models}) if len(models) > 1 else None
    sweeps = [sweep_part(path.stem, read_sweep(path)) for path in files.sweeps()]
    out_html, out_plots, out_png, out_cards = files.outputs
    _write_figures(_by_file(parts, together, sweeps), out_plots, out_png)
    with atomic_dir(out_cards) as folder:
        for part in parts:
            (folder / f"{part.name}.md").write_text(card(part), encoding="utf-8", newline="\n")
    write_text(out_html, page(parts, together, sweeps, project))


def _project(folder: Path) -> Project:
    return Project(
        counts=read_counts(folder / "clean.json"),
        validation=read_validation(folder / "validation.json"),
        shortcuts=read_shortcuts(folder / "shortcuts.json"),
        params=read_document(),
        versions=versions(),
    )


def _by_file(parts: Sequence[ModelPart], together: Figure | None, sweeps: Sequence[SweepPart]) -> dict[str, Figure]:
    """Every figure by the name of its file."""
    figures = {"all-models": together} if together else {}
    figures |= {f"{part.name}-{name}": figure for part in parts for name, figure in part.figures.items()}
    for sweep in sweeps:
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
