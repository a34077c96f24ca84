"""Stage `suite`: an evaluation's questions, ready to ask."""

import json
from pathlib import Path

from stages.core.errors import run
from stages.core.files import write_text
from stages.core.params import read_params
from stages.fetch.fetch import fetch
from stages.params.suite import SuiteParams
from stages.suites import registry
from stages.tables.parquet import write_table
from stages.tables.schemas import QUESTIONS


def main(name: str, out: Path, out_sources: Path) -> None:
    """Writes the questions of the suite NAME to OUT, and where they come from to OUT_SOURCES."""
    knobs = read_params(SuiteParams)
    entry = registry.suite(name)
    fetched = [fetch(origin, knobs.hub) for origin in entry.files]
    plan = registry.SuiteConfig(
        knobs.seed, knobs.sums, knobs.surveyed, knobs.per_task, knobs.political_prefix, knobs.fidelity == "reference"
    )
    questions = entry.make(name, plan, tuple(one.files for one in fetched))
    sources = [
        {"source": origin.source, "revision": one.revision, "files": sorted(one.files)}
        for origin, one in zip(entry.files, fetched, strict=True)
    ]
    about = {
        "version": entry.version,
        "questions": questions.height,
        "licence": entry.licence,
        "sources": sources,
    }
    write_table(questions, QUESTIONS, out)
    write_text(out_sources, json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
