"""The stage `measure` as DVC runs it: two tables and a report in, one metrics file out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.measure import filter_part, main
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
    Path("params.yaml").write_text("seed: 1\nmeasure:\n  bootstrap_samples: 200\n", encoding="utf-8")
    for variant, chosen in (("base", 1), ("tuned", 0)):
        write_table(answers(chosen), ANSWERS, Path(f"{variant}.parquet"))
    Path("filter.json").write_text(json.dumps(REPORT), encoding="utf-8")
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
    main(Path("base.parquet"), Path("tuned.parquet"), Path("filter.json"), Path(out), Path("table.csv"))
    return Path(out).read_bytes().decode()


def test_writes_the_metrics_file_byte_for_byte(project: Path) -> None:
    assert measure() == EXPECTED
    assert Path("table.csv").read_text(encoding="utf-8") == TABLE
    assert measure("again.json") == EXPECTED


def test_the_knobs_of_params_yaml_reach_the_bootstrap(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.measure.headline", lambda base, tuned, *knobs: {"knobs": knobs})
    assert json.loads(measure())["knobs"] == [1, 200]


def test_other_questions_are_one_line_and_leave_no_file(project: Path) -> None:
    write_table(answers(0).head(2), ANSWERS, Path("tuned.parquet"))
    command = [
        sys.executable,
        "-m",
        "stages.measure",
        "base.parquet",
        "tuned.parquet",
        "filter.json",
        "metrics.json",
        "table.csv",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the base and the tuned model did not answer the same questions: 1 differ")
    assert ended.stderr.count("\n") == 1
    assert not Path("metrics.json").exists()


@pytest.mark.parametrize("text", ['{"judged": 4}', "[]", "not json", '{"judged": 4'])
def test_a_broken_filter_report_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "filter.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"filter\.json is not a filter report"):
        filter_part(path)


def test_a_missing_filter_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"filter\.json does not exist"):
        filter_part(tmp_path / "filter.json")
