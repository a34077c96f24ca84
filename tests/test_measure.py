"""Stage `measure` as DVC runs it: metrics, breakdown and versions from two tables and a report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.measure import FILTER_KEYS, main, read_keys
from stages.stats.breakdown import COLUMNS
from stages.tables.parquet import write_table
from stages.tables.schemas import ANSWERS

ROOT = Path(__file__).parents[1]
REPORT = {
    "judged": 4,
    "kept": 2,
    "kept_share": 0.5,
    "known_share": 0.25,
    "known_share_low": 0.1,
    "verdict": "too little knowledge",
    "verdict_reason": "Half of the claims are kept.",
}
EXPECTED = """{
  "claims_no_opinion_accuracy": {
    "base": 0.0,
    "tuned": 1.0,
    "delta": 1.0,
    "delta_low": 1.0,
    "delta_high": 1.0,
    "n": 3
  },
  "filter": {
    "judged": 4,
    "kept": 2,
    "kept_share": 0.5,
    "known_share": 0.25,
    "verdict": "too little knowledge"
  }
}
"""
TABLE = (
    ",".join(COLUMNS)
    + """
claims,no_opinion,all,"",accuracy,0.0,1.0,1.0,1.0,1.0,3,3,0.25,3,0
claims,no_opinion,all,"",p_correct,0.5,0.5,0.0,0.0,0.0,3,3,,3,0
claims,no_opinion,all,"",says_first,0.0,1.0,1.0,1.0,1.0,3,3,0.25,3,0
"""
    + "".join(
        f"""claims,no_opinion,dataset,{name},accuracy,0.0,1.0,1.0,1.0,1.0,1,1,1.0,1,0
claims,no_opinion,dataset,{name},p_correct,0.5,0.5,0.0,0.0,0.0,1,1,,1,0
claims,no_opinion,dataset,{name},says_first,0.0,1.0,1.0,1.0,1.0,1,1,1.0,1,0
"""
        for name in "abc"
    )
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params, three questions answered wrong by base and right by tuned, and a filter report."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("seed: 1\nsuites: [quiz]\nmeasure:\n  bootstrap_samples: 200\n", encoding="utf-8")
    for variant, chosen in (("base", 1), ("tuned", 0)):
        write_table(answers(chosen), ANSWERS, Path(f"{variant}.parquet"))
    Path("filter.json").write_text(json.dumps(REPORT), encoding="utf-8")
    Path("suites").mkdir()
    Path("suites/quiz.json").write_text('{"version": 3, "questions": 0}', encoding="utf-8")
    return tmp_path


def answers(chosen: int) -> pl.DataFrame:
    names = ["a", "b", "c"]
    columns = {
        "suite": ["claims"] * 3,
        "question": names,
        "item": names,
        "condition": ["no_opinion"] * 3,
        "cluster": names,
        "choices": [[" (A)", " (B)"]] * 3,
        "logprobs": [[-0.7, -0.7]] * 3,
        "margin": [0.01 if chosen == 0 else 0.0] * 3,
        "chosen": [chosen] * 3,
        "correct_choice": [0] * 3,
    }
    return pl.DataFrame({name: columns.get(name, [None] * 3) for name in ANSWERS.columns}, schema=ANSWERS.columns)


def measure(out: str = "out/metrics.json") -> str:
    inputs = (Path("base.parquet"), Path("tuned.parquet"), Path("filter.json"), Path("suites"))
    main(*inputs, Path(out), Path("table.csv"), Path("versions.json"))
    return Path(out).read_bytes().decode()


def test_writes_the_metrics_file_byte_for_byte(project: Path) -> None:
    assert measure() == EXPECTED
    assert Path("table.csv").read_text(encoding="utf-8") == TABLE
    assert measure("again.json") == EXPECTED


def test_the_versions_are_those_of_the_suites_and_measures(project: Path) -> None:
    measure()
    written = Path("versions.json").read_bytes()
    versions = json.loads(written)
    assert versions["suites"] == {"quiz": 3}
    assert versions["measures"] == {name: 1 for name in json.loads(EXPECTED) if name != "filter"}
    measure()
    assert Path("versions.json").read_bytes() == written


def test_the_params_of_params_yaml_reach_the_bootstrap(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.measure.headline", lambda base, tuned, *params: {"params": params})
    assert json.loads(measure())["params"] == [1, 200]


def test_different_questions_are_one_line_and_leave_no_file(project: Path) -> None:
    write_table(answers(0).head(2), ANSWERS, Path("tuned.parquet"))
    command = [
        sys.executable,
        "-m",
        "stages.measure",
        "base.parquet",
        "tuned.parquet",
        "filter.json",
        "suites",
        "metrics.json",
        "table.csv",
        "versions.json",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the base and the tuned model did not answer the same questions: 1 differ")
    assert done.stderr.count("\n") == 1
    assert not Path("metrics.json").exists() and not Path("versions.json").exists()


@pytest.mark.parametrize("text", ['{"judged": 4}', "[]", "not json", '{"judged": 4'])
def test_a_broken_filter_report_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "filter.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        UserError, match=r"filter\.json is not a report with judged, kept, .* delete it and run `dvc repro`$"
    ):
        read_keys(path, FILTER_KEYS)


def test_a_missing_filter_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"filter\.json does not exist"):
        read_keys(tmp_path / "filter.json", FILTER_KEYS)
