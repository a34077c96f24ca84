"""Stage `suite`: the questions of an evaluation suite."""

import json
from pathlib import Path

from stages.core.errors import run
from stages.core.files import write_text
from stages.core.params import read_params
from stages.fetch.fetch import fetch
from stages.params.suite import SuiteParams
from stages.suites.kinds import SuiteConfig
from stages.suites.registry import suite
from stages.tables.parquet import write_table
from stages.tables.schemas import QUESTIONS


def main(name: str, out: Path, out_sources: Path) -> None:
    """Writes the questions of the suite NAME to OUT, and their sources to OUT_SOURCES."""
    params = read_params(SuiteParams)
    entry = suite(name)
    fetched = {role: fetch(source, params.hub) for role, source in entry.sources.items()}
    config = SuiteConfig(
        seed=params.seed,
        sums=params.sums,
        surveyed=params.surveyed,
        per_task=params.per_task,
        political_prefix=params.political_prefix,
        reference=params.fidelity == "reference",
    )
    questions = entry.questions(name, config, {role: source.files for role, source in fetched.items()})
    sources = [
        {"source": source.source, "revision": fetched[role].revision, "files": sorted(fetched[role].files)}
        for role, source in entry.sources.items()
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
