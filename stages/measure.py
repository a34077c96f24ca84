"""Stage `measure`: a model's answers before and after fine-tuning -> headline measures, and the tables behind them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, run
from stages.core.files import write_text
from stages.core.params import read_params
from stages.params.measure import MeasureParams
from stages.stats.breakdown import breakdown
from stages.stats.measures import headline
from stages.stats.versions import versions
from stages.tables.parquet import read_table
from stages.tables.schemas import ANSWERS

FILTER_KEYS = ("judged", "kept", "kept_share", "known_share", "verdict")


def main(
    base_answers: Path,
    tuned_answers: Path,
    filter_report: Path,
    suite_reports: Path,
    out: Path,
    table: Path,
    out_versions: Path,
) -> None:
    """Writes a model's headline measures and filter verdict to OUT, and what is behind them to TABLE, a CSV file.

    All are base against tuned with 95% intervals. OUT_VERSIONS says what they were computed with; the versions of the
    listed suites come from the folder SUITE_REPORTS.
    """
    params = read_params(MeasureParams)
    base, tuned = read_table(base_answers, ANSWERS), read_table(tuned_answers, ANSWERS)
    measures = headline(base, tuned, params.seed, params.bootstrap_samples)
    metrics = {**measures, "filter": part_of(filter_report, FILTER_KEYS)}
    suites = {name: part_of(suite_reports / f"{name}.json", ("version",))["version"] for name in params.suites}
    rows = breakdown(base, tuned, params.seed, params.bootstrap_samples)
    write_text(table, rows.write_csv())
    _write_json(out_versions, versions(suites, measures))
    _write_json(out, metrics)


def part_of(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """These keys of the report at `path`, which another stage wrote.

    Raises:
        UserError: the report is missing, is not JSON or lacks a key.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {key: report[key] for key in keys}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `dvc repro` makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        wanted = ", ".join(keys)
        raise UserError(f"{path} is no report with {wanted} ({error}); delete it and run `dvc repro`") from None


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(main)
