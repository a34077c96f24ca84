"""A fine-tuning or a judging that is killed at any moment goes on to the bytes of one that was left alone."""

import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

import polars as pl
import pytest

from stages.tables.parquet import write_batches
from stages.tables.schemas import PROMPTS
from stages.text.prompts.training import training_prompts
from tests.helpers.compilations import ADDS_NONE
from tests.miniature.project import Project

pytestmark = [pytest.mark.pipeline, pytest.mark.kill]

KILLS = 20
FINETUNE = (
    "python -m stages.finetune data/mixture/tiny-a.parquet data/validation/tiny-a.parquet models/base/tiny-a "
    "out/checkpoints out/tuned out/curve.csv out/validation.csv"
)
# The stage with a store that writes oftener, so that on a machine of any speed it is killed between two of its writes.
OFTENER = """
import runpy
from stages.inference import store
store.SECONDS_BETWEEN_COMMITS = 0.5
runpy.run_module("stages.judge", run_name="__main__", alter_sys=True)
"""
JUDGE = ["python", "-c", OFTENER, "out/prompts.parquet", "models/base/tiny-a", "out/judged/tiny-a.parquet"]
PROMPTS_TO_JUDGE = 12_000
# From what the store wrote until the judging is killed.
MOST_SECONDS = 2.0


def hashed(project: Project, folder: str) -> list[str]:
    """Sums of the model and of the curves, in order of their paths; no two Orbax folders are alike."""
    return [sum for path, sum in sorted(project.sums(folder).items()) if "checkpoints" not in path]


def started(project: Project, command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=project.root, env=project.environment(ADDS_NONE), stderr=subprocess.DEVNULL, start_new_session=True
    )


def killed(project: Project, command: Sequence[str], moment: float, when: Callable[[], bool] = lambda: True) -> bool:
    """Whether the stage was still running when it was killed, `moment` seconds after its start or after `when` held."""
    with started(project, command) as process:
        while not when() and process.poll() is None:
            time.sleep(0.1)
        try:
            return process.wait(moment) != 0
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait() == -9


def test_twenty_kills_at_random_moments_change_no_byte(project: Project) -> None:
    """Each kill begins where the one before left the scratch folder; a run that ended before its kill is looked at."""
    project.set("finetune.save_steps", 1)
    began = time.monotonic()
    with started(project, FINETUNE.split()) as process:
        assert process.wait() == 0
    seconds = time.monotonic() - began
    expected = hashed(project, "out")
    assert len(expected) > 5
    moments = random.Random(20)
    kills = 0
    while kills < KILLS:
        shutil.rmtree(project.root / "out", ignore_errors=True)
        while killed(project, FINETUNE.split(), moments.uniform(0.0, seconds)):
            kills += 1
            assert set(hashed(project, "out/tuned")) <= set(expected), "half a model under a model's name"
        assert hashed(project, "out") == expected
    assert list((project.root / ".candor/finetune").iterdir()) == []


def questions_kept(project: Project) -> int:
    counts = [0]
    for store in (project.root / ".candor/answers").glob("*.sqlite"):
        # Between the file's birth and its table's there is nothing to count.
        with closing(sqlite3.connect(store)) as database, suppress(sqlite3.OperationalError):
            counts += database.execute("SELECT count(*) FROM answers").fetchone()
    return sum(counts)


def write_prompts(project: Project, count: int) -> None:
    number = pl.int_range(count)
    examples = pl.select(
        example=pl.format("implicatures:{}", number),
        dataset=pl.lit("implicatures"),
        text=pl.format('"my aunt finished puzzle {}"', number),
        label=(number % 2).cast(pl.Int32),
        label_words=pl.lit(["Yes", "No"]),
        cluster=pl.format("implicatures:{}", number),
    )
    prompts = training_prompts(examples, seed=1, form="balanced", count=count, most_per_dataset=0)
    write_batches(prompts, PROMPTS, project.root / "out/prompts.parquet")


def test_a_judging_killed_at_random_moments_goes_on_to_the_same_bytes(project: Project) -> None:
    """Whatever was kept stays, more and more is, and what is half-written counts for nothing."""
    write_prompts(project, PROMPTS_TO_JUDGE)
    shutil.rmtree(project.root / ".candor/answers")
    began = time.monotonic()
    with started(project, JUDGE) as process:
        assert process.wait() == 0
    seconds = time.monotonic() - began
    expected, questions = hashed(project, "out/judged"), questions_kept(project)
    shutil.rmtree(project.root / "out/judged")
    shutil.rmtree(project.root / ".candor/answers")

    moments = random.Random(5)
    assert killed(project, JUDGE, moments.uniform(0.0, 0.3 * seconds))
    kept = [questions_kept(project)]
    # How fast a machine is decides how often more is kept, and so how many kills there are.
    while killed(project, JUDGE, moments.uniform(0.0, MOST_SECONDS), lambda: questions_kept(project) > kept[-1]):
        kept.append(questions_kept(project))
        whole = [sum for path, sum in project.sums("out/judged").items() if not path.endswith(".partial")]
        assert whole in ([], expected), "half a table under a table's name"
        assert kept == sorted(set(kept)), "what was kept is less, or no more than before"
    assert len(kept) > 2
    assert hashed(project, "out/judged") == expected
    assert questions_kept(project) == questions
