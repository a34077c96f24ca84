"""Several processes started by the same command train together: one of them writes, and all stop and go on as one."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from tests.lm.test_sharding import free_port
from tests.miniature.project import Project
from tests.pipeline.test_stops import interrupting


def by_two(project: Project, stage: str, arguments: str, first: dict[str, str] | None = None) -> list[tuple[int, str]]:
    """Exit status and standard error of both processes; `first` are variables of the first one alone."""
    common = {"JAX_NUM_CPU_DEVICES": "2", "CANDOR_PROCESSES": "2", "CANDOR_COORDINATOR": f"localhost:{free_port()}"}
    with ExitStack() as stack:
        running: list[subprocess.Popen[str]] = []
        for index, own in (("0", first or {}), ("1", {})):
            process = subprocess.Popen(
                ["python", "-m", f"stages.{stage}", *arguments.split()],
                cwd=project.root,
                env=project.environment(common | {"CANDOR_PROCESS": index} | own),
                stderr=subprocess.PIPE,
                text=True,
            )
            running.append(stack.enter_context(process))
            stack.callback(process.kill)  # where the other one failed, it would wait for it
        return [(process.wait(timeout=300), process.communicate()[1]) for process in running]


def tuned_by_two(project: Project, out: str, first: dict[str, str] | None = None) -> list[tuple[int, str]]:
    inputs = "data/mixture/tiny-a.parquet data/validation/tiny-a.parquet models/base/tiny-a"
    outputs = f"{out}/checkpoints {out}/tuned {out}/curve.csv {out}/validation.csv"
    return by_two(project, "finetune", f"{inputs} {outputs}", first)


def test_two_processes_ask_as_one_does(project: Project) -> None:
    for status, said in by_two(project, "judge", "data/prompts.parquet models/base/tiny-a together.parquet"):
        assert status == 0, said
    together, alone = (
        pl.read_parquet(project.root / path) for path in ("together.parquet", "data/judged/tiny-a.parquet")
    )
    logprobs = ["logprobs", "logprobs_swapped"]
    assert together.drop(logprobs).equals(alone.drop(logprobs))
    for column in logprobs:
        found, expected = (np.array(table[column].to_list()) for table in (together, alone))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


def test_two_processes_leave_what_one_does(project: Project) -> None:
    for status, said in tuned_by_two(project, "together"):
        assert status == 0, said
    alone, together = (
        pl.read_csv(project.root / path) for path in ("reports/training/tiny-a.csv", "together/curve.csv")
    )
    np.testing.assert_allclose(together.to_numpy(), alone.to_numpy(), rtol=1e-4)
    weights, expected = (
        load_file(project.root / path / "model.safetensors") for path in ("together/tuned", "models/tuned/tiny-a")
    )
    assert weights.keys() == expected.keys()
    for key, values in expected.items():
        # An update is about the rate (3e-3). Where a gradient is near zero its rounding decides the update's sign.
        assert np.mean(np.abs(weights[key] - values) < 1e-5) > 0.99, key
    assert list((project.root / ".candor/finetune").iterdir()) == []

    # A preemption notice to one of them ends both, and both go on.
    notice = interrupting("finetune", "os.rename 2.orbax-checkpoint-tmp", "SIGTERM")
    stopped = tuned_by_two(project, "apart", notice)
    assert [status for status, _ in stopped] == [143, 143], stopped
    assert all("the same command goes on from here" in said for _, said in stopped)
    assert not (project.root / "apart").exists()
    for status, said in tuned_by_two(project, "apart"):
        assert status == 0, said
    assert pl.read_csv(project.root / ".candor/logs/finetune.csv")["step"].to_list() == [4.0, 5.0, 6.0]
    for path in ("tuned/model.safetensors", "curve.csv", "validation.csv"):
        assert Path(project.root / "apart" / path).read_bytes() == (project.root / "together" / path).read_bytes()
