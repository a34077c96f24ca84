"""Stage `filter`: the prompts that the model knows, and how much it knows."""

import json
from pathlib import Path

from stages.core.errors import run
from stages.core.files import write_text
from stages.core.params import read_params
from stages.params.filter import FilterParams
from stages.stats.knowledge import JUDGED_COLUMNS, knowledge, known, with_verdicts
from stages.tables.parquet import open_table, write_batches
from stages.tables.schemas import FILTERED, JUDGED


def main(judged: Path, out: Path, report: Path) -> None:
    """Keeps the prompts of JUDGED whose opinion-free twin the model judges correctly."""
    knobs = read_params(FilterParams)
    table = open_table(judged, JUDGED)
    found = knowledge(table.columns(*JUDGED_COLUMNS), knobs.require)
    kept = (with_verdicts(part).filter(known(knobs.require)).select(FILTERED.names) for part in table.iter_batches())
    write_batches(kept, FILTERED, out)
    write_text(report, json.dumps(found, indent=2) + "\n")
    print(f"kept {found['kept']} of {found['judged']} ({found['kept_share']:.1%})")
    print(f"{found['verdict']}: {found['verdict_reason']}")


if __name__ == "__main__":
    run(main)
