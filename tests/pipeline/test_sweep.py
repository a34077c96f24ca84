"""`candor sweep` on the miniature: its table, its experiments, and what it leaves as it was, however it ends."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.helpers.compilations import ADDS_NONE
from tests.miniature.project import Done, Project, stages_run

pytestmark = pytest.mark.pipeline

TABLE = "reports/sweeps/mix_ratio.csv"


def sweep(project: Project, *arguments: str) -> Done:
    return project.run(sys.executable, "-m", "stages", "sweep", *arguments)


def left(project: Project) -> tuple[dict[str, str], str, bytes]:
    """What a sweep may not change: outputs, what git says of them, and params.yaml."""
    sums = {path: digest for path, digest in project.sums().items() if not path.startswith("reports/sweeps/")}
    return sums, project.git("status", "--short"), (project.root / "params.yaml").read_bytes()


def test_a_sweep_gives_one_table_and_leaves_all_else(project: Project) -> None:
    before = left(project)
    done = sweep(project, "mix_ratio", "1.0", "0.8333")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{TABLE}: the measures of all settings; `dvc repro` shows them on the page\n")
    assert stages_run(done) == ["check", "mix@tiny-a", "finetune@tiny-a", "evaluate@tiny-a-tuned", "measure@tiny-a",
                                "curve@tiny-a", "report"]  # fmt: skip
    assert left(project) == (before[0], before[1] + f"?? {TABLE}\n", before[2])
    # All is as it was, and the page does not show the table yet.
    assert json.loads(project.dvc("status", "--json").stdout) == {
        "report": [{"changed deps": {"reports/sweeps": "modified"}}]
    }

    table = pl.read_csv(project.root / TABLE, schema_overrides={"setting": pl.String})
    assert table["setting"].unique(maintain_order=True).to_list() == ["1.0", "0.8333"]
    shifts = dict(table.filter(measure="claims_log_odds_shift").select("setting", "tuned").iter_rows())
    assert shifts["1.0"] != shifts["0.8333"]
    metrics = pl.read_json(project.root / "reports/metrics/tiny-a.json")
    assert metrics["claims_log_odds_shift"][0]["tuned"] == shifts["0.8333"]

    written = (project.root / TABLE).read_bytes()
    again = sweep(project, "mix_ratio", "1.0", "0.8333")
    assert (again.returncode, stages_run(again)) == (0, [])
    assert "2 settings, 2 of them known from before" in again.stdout
    assert (project.root / TABLE).read_bytes() == written

    # Of a model that is not listed, nothing stays either.
    other = sweep(project, "models", "tiny-b")
    assert other.returncode == 0, other.stderr
    assert pl.read_csv(project.root / "reports/sweeps/models.csv")["model"].unique().to_list() == ["tiny-b"]
    assert left(project)[0] == before[0]
    shown = pl.read_csv(project.dvc("exp", "show", "--csv").stdout.encode())
    names = {"sweep-mix_ratio-1.0", "sweep-mix_ratio-0.8333"}
    assert names < set(shown["Experiment"].drop_nulls())

    # What was swept is on the page once that is made anew, and kept in git.
    done = project.dvc("repro")
    assert (done.returncode, stages_run(done)) == (0, ["report"]), done.stderr
    page = (project.root / "reports/index.html").read_text(encoding="utf-8")
    assert "mix_ratio, tiny-a" in page and "models, tiny-b" in page
    plots = {path.name for path in (project.root / "reports/plots").iterdir()}
    assert {"sweep-mix_ratio.svg", "sweep-models.svg"} < plots
    project.commit("Swept")
    assert {TABLE, "reports/sweeps/models.csv"} < set(project.git("ls-files").splitlines())
    assert project.dvc("status").stdout == "Data and pipelines are up to date.\n"


@pytest.mark.kill
@pytest.mark.parametrize("notice", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_leaves_all_as_it_was(project: Project, notice: signal.Signals) -> None:
    before = left(project)
    command = [sys.executable, "-m", "stages", "sweep", "finetune.steps", "5"]
    running = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment(ADDS_NONE),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: [*(project.root / ".candor/finetune").glob("*/lock")] != [], running)
    running.send_signal(notice)
    _, said = running.communicate()
    assert running.returncode == 128 + notice
    assert said.splitlines()[-1] == "stopped: no half-written files are left; run the same command again to continue"
    assert left(project) == before
    assert project.dvc("status").stdout == "Data and pipelines are up to date.\n"


def wait_for(is_so: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    while not is_so():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)


def test_an_experiment_that_fails_is_named_and_leaves_all_as_it_was(project: Project) -> None:
    before = left(project)
    done = sweep(project, "filter.require", "both_orders")  # the tiny model says (B) to everything
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: sweep-filter.require-both_orders failed; see the output above, fix the cause and run the same command "
        "to resume"
    )
    assert "error: the filter kept no prompt" in done.stderr
    assert left(project) == before


REFUSED = {
    "a key that is not there": (("finetune.step", "3"), "error: params.yaml has no key finetune.step; finetune has "),
    "a value that is not allowed": (("mix_ratio", "0.5", "1.5"), "error: params.yaml: mix_ratio is 1.5: it should be "),
    "a model that is not known": (
        ("models", "tiny-c"),
        "error: params.yaml: models: 'tiny-c' is not known; known are ",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_one_line_before_anything_is_run(finished: Project, mistake: str) -> None:
    arguments, said = REFUSED[mistake]
    done = sweep(finished, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(said)
    assert "Running" not in done.stdout


def test_uncommitted_changes_are_named(project: Project) -> None:
    project.set("mix_ratio", 0.5)
    done = sweep(project, "finetune.steps", "5")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: params.yaml differs from the last commit; commit that, or undo it")


def test_a_commit_without_a_finished_run_is_refused(project: Project) -> None:
    project.set("mix_ratio", 0.5)
    project.commit("Another mixture")
    done = sweep(project, "finetune.steps", "5")
    assert (done.returncode, done.stderr) == (
        1, "error: the last commit holds no finished run; run `dvc repro` and commit what it changes\n"
    )  # fmt: skip


def test_outside_a_project_one_line_says_so(finished: Project, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stages", "sweep", "mix_ratio", "0.5"]
    for name, said in {"params.yaml": "params.yaml is missing", ".dvc": "there is no .dvc here"}.items():
        environment = finished.environment() | {"PYTHONPATH": str(finished.root)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(f"error: {said}"), name
        (tmp_path / "params.yaml").write_text("mix_ratio: 0.5\n", encoding="utf-8")
