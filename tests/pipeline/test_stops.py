"""Whatever stops a run, nothing half-written counts, a line says why, and the next run goes on to the same bytes."""

import shutil
from pathlib import Path

import pytest

from stages.core.params import read_document
from tests.helpers.compilations import ADDS_NONE
from tests.miniature.interruption.variables import interrupting
from tests.miniature.project import Done, Project, make, stages_run, write_yaml


@pytest.mark.pipeline
def test_a_wrong_value_is_refused_before_anything_is_removed(project: Project) -> None:
    """One of the mistakes of tests/test_check.py, as a user of DVC meets it."""
    before = project.sums() | project.sums(".dvc/cache")
    project.set("mix_ratio", 1.5)
    done = project.dvc("repro")
    assert done.returncode != 0
    assert "mix_ratio is 1.5" in the_error(done)
    assert stages_run(done) == ["check"]
    assert project.sums() | project.sums(".dvc/cache") == before
    assert project.git("status", "--short") == " M params.yaml\n"


# Where a stage is killed, and what it may not do again when it goes on: it would be killed for it.
KILLED = {
    # While members are extracted, with the first ones in place.
    "collect@implicatures": ("os.rename metaphor_boolean", ""),
    # With the raw table written beside its place, in a folder that `clean` depends on.
    "collect@metaphor_boolean": ("os.rename .metaphor_boolean.parquet", ""),
    "judge@tiny-a": ("os.rename .tiny-a.parquet", ""),
    "evaluate@tiny-a-tuned": ("os.rename .tiny-a-tuned.parquet", ""),
    "curve@tiny-a": ("os.rename .tiny-a.csv", ""),
    # While the second checkpoint is written; the first is not written twice.
    "finetune@tiny-a": ("os.rename 4.orbax-checkpoint-tmp", "os.rename 2.orbax-checkpoint-tmp"),
}


@pytest.mark.kill
@pytest.mark.parametrize("stage", KILLED)
def test_a_killed_stage_goes_on_to_the_same_bytes(project: Project, stage: str) -> None:
    before = project.sums()
    moment, done_before = KILLED[stage]
    shutil.rmtree(project.root / ".candor")
    killed = project.dvc("repro", "--force", "--single-item", stage, variables=interrupting(stage, moment, "SIGKILL"))
    assert killed.returncode != 0 and "exited with 137" in killed.stderr
    assert left_over(project) != []
    outputs = {path for path in before if path not in project.sums()}
    assert outputs and changed(before, project.sums()) - partial(project) == outputs
    assert project.git("ls-files", "--others", "--exclude-standard") == ""

    forget(project, stage)
    variables = interrupting(stage, done_before, "SIGKILL") if done_before else {}
    done = project.dvc("repro", stage, variables=variables)
    assert done.returncode == 0, done.stderr
    assert stages_run(done) == [stage]
    assert {path for path in changed(before, project.sums()) if not path.startswith("models/checkpoints/")} == set()
    assert left_over(project) == []
    status = project.dvc("status").stdout
    if stage.startswith("finetune"):
        # Orbax's folders have other bytes each time, for equal parameters; what reads them is asked again.
        assert status.split() == ["curve@tiny-a:", "changed", "deps:", "modified:", "models/checkpoints/tiny-a"]
    else:
        assert status == "Data and pipelines are up to date.\n"


def forget(project: Project, stage: str) -> None:
    """Takes a stage's outputs out of DVC's cache, so that it has to make them anew."""
    for out in read_document(project.root / "dvc.lock")["stages"][stage]["outs"]:
        (project.root / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]).unlink(missing_ok=True)


@pytest.mark.pipeline
def test_what_a_killed_stage_leaves_behind_counts_for_nothing(project: Project) -> None:
    (project.root / "data/raw/.fever.parquet.99.0123abcd.partial").write_text("half", encoding="utf-8")
    (project.root / "models/base/.tiny-b.99.0123abcd.partial").mkdir()
    (project.root / "reports/metrics/.tiny-b.json.99.0123abcd.partial").write_text("{", encoding="utf-8")
    assert project.dvc("status").stdout == "Data and pipelines are up to date.\n"
    assert project.git("status", "--short") == ""


def test_a_finished_stage_leaves_no_resume_state(finished: Project) -> None:
    assert list((finished.root / ".candor/finetune").iterdir()) == []


@pytest.mark.kill
@pytest.mark.parametrize(
    ("stage", "moment"),
    [("judge@tiny-a", "open .tiny-a.parquet"), ("collect@implicatures", "open .implicatures.parquet")],
)
def test_ctrl_c_says_so_in_one_line(project: Project, stage: str, moment: str) -> None:
    before = project.sums()
    done = project.dvc("repro", "--force", "--single-item", stage, variables=interrupting(stage, moment, "SIGINT"))
    assert done.returncode != 0
    assert said(done, "stopped: ") == [
        "stopped: no half-written files are left; run the same command again to continue"
    ]
    assert left_over(project) == []
    assert project.sums().items() < before.items()


# No file may grow past so many blocks of 512 bytes, as if the disk were full.
FULL = {
    "prompt": (2, "data/examples.parquet data/raw out/prompts.parquet out/claims.parquet out/shortcuts.json"),
    "base": (2, "tiny-a out/base"),
    "finetune": (
        64,
        "data/mixture/tiny-a.parquet data/validation/tiny-a.parquet models/base/tiny-a out/checkpoints out/tuned "
        "out/curve.csv out/validation.csv",
    ),
    "report": (2, "reports data"),
}


@pytest.mark.kill
@pytest.mark.parametrize(("stage", "outputs"), [("prompt", "out"), ("base", "out"), ("report", "reports")])
def test_a_full_disk_is_one_line_that_names_the_place(project: Project, stage: str, outputs: str) -> None:
    before = sorted(path for path in (project.root / outputs).rglob("*") if path.is_file())
    done = with_full_disk(project, stage)
    assert done.returncode == 1
    assert the_error(done).startswith(f"error: {outputs}/")
    left = sorted(path for path in (project.root / outputs).rglob("*") if path.is_file())
    assert left == before


@pytest.mark.kill
def test_a_disk_that_fills_up_with_a_checkpoint_is_named_too(project: Project) -> None:
    done = with_full_disk(project, "finetune")
    assert done.returncode == 1
    # Beside this line stands what Orbax and its threads say of themselves.
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert ".candor/finetune/" in line
    assert not (project.root / "out").exists()


def with_full_disk(project: Project, stage: str) -> Done:
    blocks, arguments = FULL[stage]
    limited = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", "python", "-m", f"stages.{stage}"]
    return project.run(*limited, *arguments.split(), variables=ADDS_NONE)


@pytest.mark.pipeline
def test_without_a_network_one_line_says_what_could_not_be_fetched(tmp_path: Path) -> None:
    project = make(tmp_path / "a project")
    done = project.dvc("repro", "collect@implicatures", variables={"PIP_FIND_LINKS": ""})
    assert_not_fetched(project, done)
    assert "pip config list" in the_error(done)


@pytest.mark.pipeline
def test_an_archive_that_was_cut_is_not_used(tmp_path: Path) -> None:
    project = make(tmp_path / "a project")
    [archive] = (project.root / "index").iterdir()
    archive.write_bytes(archive.read_bytes()[:-100])
    done = project.dvc("repro", "collect@implicatures")
    assert_not_fetched(project, done)
    assert "its size is" in the_error(done)


@pytest.mark.pipeline
def test_an_archive_of_another_hash_is_not_used(tmp_path: Path) -> None:
    project = make(tmp_path / "a project")
    pins = read_document(project.root / "pins.yaml")
    pins["archives"]["bigbench"]["sha256"] = "0" * 64
    write_yaml(pins, project.root / "pins.yaml")
    done = project.dvc("repro", "collect@implicatures")
    assert_not_fetched(project, done)
    assert "its SHA-256 sum is" in the_error(done)


def assert_not_fetched(project: Project, done: Done) -> None:
    assert done.returncode != 0
    assert "bigbench-1.0.0.tar.gz (project bigbench, version 1.0.0) could not be fetched" in the_error(done)
    assert set(project.sums()) == set()
    assert [path for path in project.sums(".candor") if not path.endswith("lock")] == []


def the_error(done: Done) -> str:
    """The one line in which a stage says what is wrong."""
    [line] = said(done, "error: ")
    return line


def said(done: Done, start: str) -> list[str]:
    """The lines of a stage's own that begin like this, where nothing fell on its user as a traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    return [line.strip() for line in done.stderr.splitlines() if line.strip().startswith(start)]


def left_over(project: Project) -> list[Path]:
    """What lies half-written anywhere in the project."""
    return [path for end in ("*.partial", "*.orbax-checkpoint-tmp") for path in project.root.rglob(end)]


def partial(project: Project) -> set[str]:
    return {path for path in project.sums() if path.endswith(".partial")}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Files that are new, gone or of other bytes."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
