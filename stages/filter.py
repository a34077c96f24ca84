"""Stage `filter`: keeps the prompts whose claims the model knows, and reports how much it knows."""

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
    params = read_params(FilterParams)
    table = open_table(judged, JUDGED)
    summary = knowledge(table.columns(*JUDGED_COLUMNS), params.require)
    is_known = known(params.require)
    filtered = (with_verdicts(batch).filter(is_known).select(FILTERED.names) for batch in table.iter_batches())
    write_batches(filtered, FILTERED, out)
    write_text(report, json.dumps(summary, indent=2) + "\n")
    print(f"kept {summary['kept']} of {summary['judged']} prompts ({summary['kept_share']:.1%})")
    print(f"{summary['verdict']}: {summary['verdict_reason']}")


if __name__ == "__main__":
    run(main)
