"""Stage `measure`: a model's answers before and after fine-tuning -> headline measures, and the tables behind them."""

import json
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, run
from stages.core.files import write_text
from stages.core.params import read_params
from stages.params.measure import MeasureParams
from stages.stats.breakdown import breakdown
from stages.stats.measures import headline
from stages.tables.parquet import read_table
from stages.tables.schemas import ANSWERS

FILTER_KEYS = ("judged", "kept", "kept_share", "known_share", "verdict")


def main(base_answers: Path, tuned_answers: Path, filter_report: Path, out: Path, table: Path) -> None:
    """Writes a model's headline measures and filter verdict to OUT, and what is behind them to TABLE, a CSV file.

    All are base against tuned with 95% intervals.
    """
    params = read_params(MeasureParams)
    base, tuned = read_table(base_answers, ANSWERS), read_table(tuned_answers, ANSWERS)
    metrics: dict[str, Any] = {**headline(base, tuned, params.seed, params.bootstrap_samples)}
    metrics["filter"] = filter_part(filter_report)
    behind = breakdown(base, tuned, params.seed, params.bootstrap_samples)
    write_text(table, behind.write_csv())
    write_text(out, json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def filter_part(path: Path) -> dict[str, Any]:
    """The part of the filter report at `path` that the metrics repeat.

    Raises:
        UserError: the report is missing, is not JSON or lacks a key.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {key: report[key] for key in FILTER_KEYS}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `dvc repro` makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a filter report ({error}); delete it and run `dvc repro`") from None


if __name__ == "__main__":
    run(main)
