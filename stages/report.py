"""Stage `report`: reads metrics, filter reports, logs, answers, counts and sweeps; writes the page, figures, cards."""

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
from stages.page.sections import (
    Figure,
    ModelSection,
    SweepSection,
    answers_per_suite,
    model_section,
    overview,
    sweep_section,
)
from stages.params.report import ReportParams


def main(reports: Path, data: Path) -> None:
    """Writes the report page of the listed models and all sweeps, its figures as files, and the measures for cards.

    `ReportFiles` names the files that are read and written in the folders REPORTS and DATA.
    """
    params, files = read_params(ReportParams), ReportFiles(reports, data)
    questions = files.questions(params.suites)
    # Only the listed models: files of models that were removed from the list may still be there.
    models = [read_model(name, files, questions) for name in params.models]
    project = _project(reports / "data")
    sections = [model_section(model, answers_per_suite(len(models))) for model in models]
    all_models = overview({model.name: model.changes for model in models}) if len(models) > 1 else None
    sweeps = [sweep_section(path.stem, read_sweep(path)) for path in files.sweeps()]
    out_html, out_plots, out_png, out_cards = files.outputs
    _write_figures(_figures_by_file(sections, all_models, sweeps), out_plots, out_png)
    with atomic_dir(out_cards) as folder:
        for section in sections:
            (folder / f"{section.name}.md").write_text(card(section), encoding="utf-8", newline="\n")
    write_text(out_html, page(sections, all_models, sweeps, project))


def _project(folder: Path) -> Project:
    return Project(
        counts=read_counts(folder / "clean.json"),
        validation=read_validation(folder / "validation.json"),
        shortcuts=read_shortcuts(folder / "shortcuts.json"),
        params=read_document(),
        versions=versions(),
    )


def _figures_by_file(
    sections: Sequence[ModelSection], all_models: Figure | None, sweeps: Sequence[SweepSection]
) -> dict[str, Figure]:
    """Every figure by the name of its file, without the ending."""
    figures = {"all-models": all_models} if all_models else {}
    figures |= {f"{section.name}-{name}": figure for section in sections for name, figure in section.figures.items()}
    for sweep in sweeps:
        has_several = len(sweep.figures) > 1
        figures |= {f"sweep-{sweep.key}" + has_several * f"-{model}": figure for model, figure in sweep.figures.items()}
    return figures


def _write_figures(figures: Mapping[str, Figure], out_plots: Path, out_png: Path) -> None:
    with atomic_dir(out_plots) as plots, atomic_dir(out_png) as pictures:
        for name, figure in figures.items():
            (plots / f"{name}.svg").write_text(figure.svg + "\n", encoding="utf-8", newline="\n")
            (pictures / f"{name}.png").write_bytes(png(figure.svg))


if __name__ == "__main__":
    run(main)
