"""Stage `report`, run as DVC runs it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.core.errors import guarded
from stages.report import main
from stages.tables.parquet import write_table
from stages.tables.schemas import ANSWERS, QUESTIONS

Report = Callable[[], tuple[int, str]]

ROOT = Path(__file__).parents[1]
FIGURES = ("accuracy", "aside", "headline", "kept", "loss")
SWEPT = """setting,model,measure,base,tuned,delta,delta_low,delta_high,n
0,a,claims_no_opinion_accuracy,0.5,0.5,0.0,-0.1,0.1,96
0.5,a,claims_no_opinion_accuracy,0.5,0.625,0.125,0.0,0.2,96
"""


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """The stage as DVC runs it, in a process with its own order of sets."""
    return subprocess.run(
        [sys.executable, "-m", "stages.report", "reports", "data"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that lists model `a` and still has a broken file of model `b`, which is no longer listed."""
    (tmp_path / "params.yaml").write_text("models: [a]\nsuites: [quiz]\n", encoding="utf-8")
    change = {"base": 0.67, "tuned": 0.21, "delta": -0.46, "delta_low": -0.5, "delta_high": -0.4, "n": 192}
    counts = {"judged": 4, "kept": 2, "kept_share": 0.5}
    known = {"known_share": 0.0, "known_share_low": -0.5, "known_share_high": 0.5}
    verdict = {"verdict": "too little knowledge", "verdict_reason": "it guesses"}
    kinds = {f"by_{kind}": {"x": counts} for kind in ("dataset", "polarity", "letter", "truth")}
    texts = {
        "reports/metrics/a.json": json.dumps({"claims_wrong_opinion_followed": change, "filter": counts}),
        "reports/metrics/b.json": "broken",
        "reports/filter/a.json": json.dumps(counts | known | verdict | kinds),
        "reports/training/a.csv": "step,loss,learning_rate\n1,2.0,0.1\n2,1.0,0.1\n",
        "reports/validation/a.csv": "step,source,loss\n1,zoo,2.0\n2,zoo,1.0\n",
        "reports/tables/a.csv": "suite,condition,group,value,measure,base,tuned,delta,delta_low,delta_high,n\n"
        'claims,no_opinion,all,"",accuracy,0.5,0.75,0.25,-0.1,0.5,8\n',
        "reports/curve/a.csv": "step,measure,value,delta,delta_low,delta_high,n\n0,claims_selectivity,0.5,0,0,0,8\n",
        "reports/data/clean.json": json.dumps({"rows": {"zoo": {"raw": 3}}, "instructions": {"letters": {"raw": 2}}}),
        "reports/data/validation.json": json.dumps(
            {
                "datasets": {},
                "total": {"rows": 3, "published_rows": 0, "distinct_in_sets": 3, "distinct": 3, "paper": 9},
            }
        ),
        "reports/data/shortcuts.json": json.dumps(
            {"prompts": 4, "claims": 2, "polarity": {"training_prompts": 0.75, "held_out_claims": None}}
        ),
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    answer: dict[str, Any] = {
        "suite": "claims",
        "question": "q",
        "condition": "no_opinion",
        "cluster": "c",
        "choices": ["x", "y"],
        "answer_kind": "choice",
    }
    answer |= {"logprobs": [-1.0, -2.0], "chosen": 0, "correct_choice": 0}
    table = pl.DataFrame([dict.fromkeys(ANSWERS.columns) | answer], schema=ANSWERS.columns)
    for variant in ("base", "tuned"):
        write_table(table, ANSWERS, tmp_path / "data/answers" / f"a-{variant}.parquet")
    question: dict[str, Any] = {name: answer.get(name) for name in QUESTIONS.names}
    question |= {"turns": [{"role": "user", "text": "Is this a zoo?"}], "answer_prefix": "It is"}
    questions = pl.DataFrame([question], schema=QUESTIONS.columns)
    write_table(questions, QUESTIONS, tmp_path / "data/claims.parquet")
    write_table(questions.clear(), QUESTIONS, tmp_path / "data/suites/quiz.parquet")
    return tmp_path


@pytest.fixture
def report(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    """Runs the stage in this process, which has imported everything; the exit status and standard error."""
    monkeypatch.chdir(project)

    def call() -> tuple[int, str]:
        status: object = 0
        try:
            guarded(lambda: main(Path("reports"), Path("data")))
        except SystemExit as ended:
            status = ended.code
        assert isinstance(status, int)
        return status, capsys.readouterr().err

    return call


def files(project: Path) -> dict[str, bytes]:
    """The stage's outputs, by their paths in reports/."""
    reports = project / "reports"
    outs = [
        reports / "index.html",
        *(path for name in ("cards", "plots", "png") for path in (reports / name).rglob("*")),
    ]
    return {str(path.relative_to(reports)): path.read_bytes() for path in sorted(outs) if path.is_file()}


def test_the_listed_model_s_page_and_plots_have_the_same_bytes_twice(project: Path) -> None:
    done = run(project)
    assert (done.returncode, done.stderr) == (0, "")
    first = files(project)
    figures = [f"{kind}/a-{figure}.{end}" for kind, end in (("plots", "svg"), ("png", "png")) for figure in FIGURES]
    assert list(first) == ["cards/a.md", "index.html", *figures]
    page = first["index.html"].decode()
    assert "follows a wrong opinion in 21% of claims, was 67%" in page
    alt_texts = re.findall('aria-label="(.*?)"', first["plots/a-kept.svg"].decode())
    assert len(alt_texts) == 1 and alt_texts[0] in page
    assert "Is this a zoo?\nIt is …" in page and "[−10.0, +50.0]" in page
    card = first["cards/a.md"].decode()
    assert "The tuned model follows a wrong opinion in 21% of claims, was 67%" in card
    assert "| Claims, wrong opinion: followed | 67.0% | 21.0% | −46.0 | [−50.0, −40.0] | 192 | better |" in card
    run(project)
    assert files(project) == first


def test_several_models_have_an_overview_figure(project: Path, report: Report) -> None:
    (project / "params.yaml").write_text("models: [a, b]\nsuites: [quiz]\n", encoding="utf-8")
    for path in project.glob("*/*/a[.-]*"):
        path.with_name("b" + path.name[1:]).write_bytes(path.read_bytes())
    assert report() == (0, "")
    written = files(project)
    assert "png/all-models.png" in written and 'aria-label="a. ' in written["plots/all-models.svg"].decode()
    assert {"cards/a.md", "cards/b.md"} <= set(written)


def test_every_sweep_in_reports_is_on_the_page(project: Path) -> None:
    (project / "reports/sweeps").mkdir()
    (project / "reports/sweeps/.keep").touch()
    (project / "reports/sweeps/mix_ratio.csv").write_text(SWEPT, encoding="utf-8")
    several = SWEPT + SWEPT.partition("\n")[2].replace(",a,", ",b,")
    (project / "reports/sweeps/judge.dtype.csv").write_text(several, encoding="utf-8")
    done = run(project)
    assert (done.returncode, done.stderr) == (0, "")
    first = files(project)
    page = first["index.html"].decode()
    assert "mix_ratio, a" in page and "Figures 11 and 12" in page
    assert "Claims, no opinion: correct: 50.0% to 50.0% with 0, 50.0% to 62.5% with 0.5." in page
    swept = [name for name in first if "sweep" in name]
    names = ["sweep-judge.dtype-a", "sweep-judge.dtype-b", "sweep-mix_ratio"]
    assert swept == [f"{folder}/{name}.{end}" for folder, end in (("plots", "svg"), ("png", "png")) for name in names]
    run(project)
    assert files(project) == first


def test_a_malformed_sweep_is_one_line(project: Path, report: Report) -> None:
    (project / "reports/sweeps").mkdir()
    (project / "reports/sweeps/mix_ratio.csv").write_text(SWEPT.replace("0.625", "much"), encoding="utf-8")
    status, said = report()
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("error: reports/sweeps/mix_ratio.csv is not a table of a sweep (could not parse `much`")
    assert said.endswith("; delete it and run `candor sweep mix_ratio VALUE...`\n")
    assert files(project) == {}


@pytest.mark.parametrize(
    "missing",
    [
        "reports/training/a.csv",
        "reports/validation/a.csv",
        "reports/tables/a.csv",
        "reports/curve/a.csv",
        "data/answers/a-tuned.parquet",
        "data/suites/quiz.parquet",
    ],
)
def test_a_missing_input_is_one_line_and_nothing_is_written(project: Path, report: Report, missing: str) -> None:
    (project / missing).unlink()
    assert report() == (1, f"error: {missing} does not exist; `dvc repro` makes it\n")
    assert files(project) == {}
