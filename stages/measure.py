"""Stage `measure`: headline measures and their breakdown from a model's answers before and after fine-tuning."""

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
    """Writes a model's headline measures and filter verdict to OUT (JSON), and their breakdown to TABLE (CSV).

    All numbers compare tuned with base, with 95% intervals. OUT_VERSIONS gets the versions of code, packages, suites
    and measures; the versions of the listed suites come from the folder SUITE_REPORTS.
    """
    params = read_params(MeasureParams)
    base, tuned = read_table(base_answers, ANSWERS), read_table(tuned_answers, ANSWERS)
    measures = headline(base, tuned, params.seed, params.bootstrap_samples)
    metrics = {**measures, "filter": read_keys(filter_report, FILTER_KEYS)}
    suites = {name: read_keys(suite_reports / f"{name}.json", ("version",))["version"] for name in params.suites}
    rows = breakdown(base, tuned, params.seed, params.bootstrap_samples)
    write_text(table, rows.write_csv())
    _write_json(out_versions, versions(suites, measures))
    _write_json(out, metrics)


def read_keys(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The given keys of the JSON report at `path`, which another stage wrote.

    Raises:
        UserError: the report is missing, is not JSON or lacks a key.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {key: report[key] for key in keys}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; `dvc repro` makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        names = ", ".join(keys)
        raise UserError(f"{path} is not a report with {names} ({error}); delete it and run `dvc repro`") from None


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(main)
