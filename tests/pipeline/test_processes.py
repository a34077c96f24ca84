"""Several processes started by the same command work as one: one of them writes, all stop and go on together."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from tests.helpers.compilations import ADDS_NONE
from tests.helpers.programs import free_port
from tests.miniature.interruption.variables import interrupting
from tests.miniature.project import Project

pytestmark = [pytest.mark.pipeline, pytest.mark.processes]

JUDGE = "data/prompts.parquet models/base/tiny-a"
EVALUATE = "data/suites data/claims.parquet models/base/tiny-a"
FINETUNE = "data/mixture/tiny-a.parquet data/validation/tiny-a.parquet models/base/tiny-a"
SECONDS = 60
LOSS = ["loss", "learning_rate", "target_tokens", "example_tokens"]

Ended = list[tuple[int, str]]
Running = list[subprocess.Popen[str]]


@contextmanager
def started(
    project: Project, stage: str, arguments: str, total: int, own: dict[int, dict[str, str]]
) -> Iterator[Running]:
    """The `total` processes of a stage, four devices in all; `own` are variables of some of them alone."""
    common = {"JAX_NUM_CPU_DEVICES": str(4 // total)}
    if total > 1:
        common |= {"CANDOR_PROCESSES": str(total), "CANDOR_COORDINATOR": f"localhost:{free_port()}"}
    with ExitStack() as stack:
        running: Running = []
        for index in range(total):
            process = subprocess.Popen(
                ["python", "-m", f"stages.{stage}", *arguments.split()],
                cwd=project.root,
                env=project.environment(common | {"CANDOR_PROCESS": str(index)} | own.get(index, {})),
                stderr=subprocess.PIPE,
                text=True,
            )
            running.append(stack.enter_context(process))
            stack.callback(process.kill)  # where another one failed, it would wait for it
        yield running


def ended(running: Running) -> Ended:
    """Exit status and standard error of each."""
    return [(process.wait(timeout=300), process.communicate()[1]) for process in running]


def by(total: int, project: Project, stage: str, arguments: str, own: dict[int, dict[str, str]] | None = None) -> Ended:
    with started(project, stage, arguments, total, own or {}) as running:
        return ended(running)


def tuned_by(total: int, project: Project, out: str, own: dict[int, dict[str, str]] | None = None) -> Ended:
    return by(total, project, "finetune", tuning(out), own)


def tuning(out: str) -> str:
    return f"{FINETUNE} {out}/checkpoints {out}/tuned {out}/curve.csv {out}/validation.csv"


def succeeded(ended: Ended) -> None:
    for status, said in ended:
        assert status == 0, said


@pytest.mark.parametrize("total", [2, 4])
def test_processes_ask_as_one_does(project: Project, total: int) -> None:
    succeeded(by(total, project, "judge", f"{JUDGE} together.parquet"))
    assert_same_answers(project, "together.parquet", "data/judged/tiny-a.parquet")
    # Written answers too.
    succeeded(by(total, project, "evaluate", f"{EVALUATE} answers.parquet"))
    assert_same_answers(project, "answers.parquet", "data/answers/tiny-a-base.parquet")


def assert_same_answers(project: Project, found_at: str, expected_at: str) -> None:
    found, expected = (pl.read_parquet(project.root / path) for path in (found_at, expected_at))
    close = [name for name in expected.columns if name.startswith(("logprobs", "margin"))]
    assert found.drop(close).equals(expected.drop(close))
    for name in close:
        mine, theirs = (
            table[name].explode() if name.startswith("logprobs") else table[name] for table in (found, expected)
        )
        assert mine.is_null().equals(theirs.is_null())
        np.testing.assert_allclose(mine.drop_nulls().to_numpy(), theirs.drop_nulls().to_numpy(), atol=1e-5)


@pytest.mark.parametrize("total", [2, 4])
def test_processes_leave_what_one_does(project: Project, total: int) -> None:
    succeeded(tuned_by(total, project, "together"))
    assert_same_curve(project, "together")
    weights, expected = (
        load_file(project.root / path / "model.safetensors") for path in ("together/tuned", "models/tuned/tiny-a")
    )
    assert weights.keys() == expected.keys()
    for key, values in expected.items():
        # An update is about the rate (3e-3). Where a gradient is near zero its rounding decides the update's sign.
        assert np.mean(np.abs(weights[key] - values) < 1e-5) > 0.99, key
    assert list((project.root / ".candor/finetune").iterdir()) == []


def assert_same_curve(project: Project, out: str) -> None:
    """That of the unbroken run of one process."""
    found, alone = (pl.read_csv(project.root / path) for path in (f"{out}/curve.csv", "reports/training/tiny-a.csv"))
    assert found["step"].to_list() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(found.select(LOSS).to_numpy(), alone.select(LOSS).to_numpy(), rtol=1e-5)
    np.testing.assert_allclose(found["gradient_norm"].to_numpy(), alone["gradient_norm"].to_numpy(), rtol=1e-4)
    found, alone = (
        pl.read_csv(project.root / path) for path in (f"{out}/validation.csv", "reports/validation/tiny-a.csv")
    )
    assert found.drop("loss").equals(alone.drop("loss"))
    np.testing.assert_allclose(found["loss"].to_numpy(), alone["loss"].to_numpy(), rtol=1e-5)


def steps_of_the_last_run(project: Project) -> list[float]:
    return pl.read_csv(project.root / ".candor/logs/finetune.csv")["step"].to_list()


@pytest.mark.kill
@pytest.mark.parametrize(("before", "after"), [(2, 2), (4, 2), (1, 2)])
def test_a_notice_to_one_ends_all_and_another_number_goes_on(project: Project, before: int, after: int) -> None:
    notice = {0: interrupting("finetune", "os.rename 2.orbax-checkpoint-tmp", "SIGTERM")}
    stopped = tuned_by(before, project, "apart", notice)
    assert [status for status, _ in stopped] == [143] * before, stopped
    assert all("run the same command again to continue" in said for _, said in stopped)
    assert not (project.root / "apart").exists()

    succeeded(tuned_by(after, project, "apart"))
    assert steps_of_the_last_run(project) == [4.0, 5.0, 6.0]
    assert_same_curve(project, "apart")
    if before == after:
        succeeded(tuned_by(before, project, "together"))
        for path in ("tuned/model.safetensors", "curve.csv", "validation.csv"):
            assert Path(project.root / "apart" / path).read_bytes() == (project.root / "together" / path).read_bytes()


# ---- killed


@pytest.mark.kill
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_of_the_judge_is_noticed_and_one_goes_on(project: Project, victim: int) -> None:
    # The first one with the table written beside its place, the other one before the model is there.
    moment = ("os.rename .together.parquet", "open tiny-a/config.json")[victim]
    own = {0: ADDS_NONE, victim: interrupting("judge", moment, "SIGKILL")}
    with started(project, "judge", f"{JUDGE} together.parquet", 2, own) as running:
        running[victim].wait(timeout=120)
        assert_noticed(running, victim)
    assert not (project.root / "together.parquet").exists()

    succeeded(by(1, project, "judge", f"{JUDGE} together.parquet"))
    assert_same_answers(project, "together.parquet", "data/judged/tiny-a.parquet")


@pytest.mark.kill
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_of_a_fine_tuning_is_noticed_and_one_goes_on(project: Project, victim: int) -> None:
    with started(project, "finetune", tuning("apart"), 2, {0: ADDS_NONE}) as running:
        log = project.root / ".candor/logs" / ("finetune.csv" if victim == 0 else f"finetune-{victim}.csv")
        log.unlink(missing_ok=True)
        while not log.exists() or len(log.read_text(encoding="utf-8").splitlines()) < 4:
            assert all(process.poll() is None for process in running)
            time.sleep(0.005)
        running[victim].kill()
        assert_noticed(running, victim)
    assert not (project.root / "apart/tuned").exists()

    succeeded(tuned_by(1, project, "apart"))
    assert steps_of_the_last_run(project)[0] > 2, "from the checkpoint after the second step or a later one"
    assert_same_curve(project, "apart")


def assert_noticed(running: Running, victim: int) -> None:
    """The other one ends in time, and says in one line who is gone and what to do."""
    began = time.monotonic()
    [(status, said)] = ended([process for index, process in enumerate(running) if index != victim])
    assert time.monotonic() - began < SECONDS
    assert status == 1, said
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: process {victim} of 2 (") and " is gone: " in line
    assert line.endswith("start all processes again with the same commands, or fewer of them (CANDOR_PROCESSES)")


@pytest.mark.kill
def test_a_mistake_of_one_ends_the_others(project: Project) -> None:
    (project.root / "apart").mkdir()
    (project.root / "apart/together.parquet").mkdir()  # where the first one, alone, cannot write
    with started(project, "judge", f"{JUDGE} apart/together.parquet", 2, {}) as running:
        [first, other] = ended(running)
    assert first[0] == other[0] == 1, (first, other)
    assert "error: apart/.together.parquet" in first[1] and "Is a directory" in first[1]
    assert "error: process 0 of 2 (" in other[1] and " ended early; its own output says why" in other[1]
