"""A fine-tuning that is killed at any moment goes on to the bytes of one that was left alone."""

import random
import shutil
import subprocess
import time

import pytest

from tests.miniature.project import Project

KILLS = 20
COMMAND = (
    "python -m stages.finetune data/mixture/tiny-a.parquet data/validation/tiny-a.parquet models/base/tiny-a "
    "out/checkpoints out/tuned out/curve.csv out/validation.csv"
)


def hashed(project: Project, folder: str) -> list[str]:
    """Sums of the model and of the curves, in order of their paths; no two Orbax folders are alike."""
    return [sum for path, sum in sorted(project.sums(folder).items()) if "checkpoints" not in path]


def started(project: Project) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND.split(), cwd=project.root, env=project.environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )


def killed(project: Project, moment: float) -> bool:
    """Whether the stage was still running when it was killed, `moment` seconds after its start."""
    with started(project) as process:
        try:
            return process.wait(moment) != 0
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait() == -9


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_byte(project: Project) -> None:
    """Each kill begins where the one before left the scratch folder; a run that ended before its kill is looked at."""
    project.set("finetune.checkpoint_every", 1)
    began = time.monotonic()
    with started(project) as process:
        assert process.wait() == 0
    seconds = time.monotonic() - began
    expected = hashed(project, "out")
    assert len(expected) > 5
    moments = random.Random(20)
    kills = 0
    while kills < KILLS:
        shutil.rmtree(project.root / "out", ignore_errors=True)
        while killed(project, moments.uniform(0.0, seconds)):
            kills += 1
            assert set(hashed(project, "out/tuned")) <= set(expected), "half a model under a model's name"
        assert hashed(project, "out") == expected
    assert list((project.root / ".candor/finetune").iterdir()) == []
