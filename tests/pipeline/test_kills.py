"""A fine-tuning or a judging that is killed at any moment goes on to the bytes of one that was left alone."""

import random
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing

import polars as pl
import pytest

from stages.text.parquet import write_parts
from stages.text.prompts import training_prompts
from stages.text.tables import PROMPTS
from tests.miniature.project import Project

KILLS = 20
FINETUNE = (
    "python -m stages.finetune data/mixture/tiny-a.parquet data/validation/tiny-a.parquet models/base/tiny-a "
    "out/checkpoints out/tuned out/curve.csv out/validation.csv"
)
JUDGE = "python -m stages.judge out/prompts.parquet models/base/tiny-a out/judged/tiny-a.parquet"
# Enough to be judged for longer than the store waits before it writes.
PROMPTS_TO_JUDGE = 12_000
# Of judgings, until the last one ends by itself.
MOST_KILLS = 12


def hashed(project: Project, folder: str) -> list[str]:
    """Sums of the model and of the curves, in order of their paths; no two Orbax folders are alike."""
    return [sum for path, sum in sorted(project.sums(folder).items()) if "checkpoints" not in path]


def started(project: Project, command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command.split(), cwd=project.root, env=project.environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )


def killed(project: Project, command: str, moment: float) -> bool:
    """Whether the stage was still running when it was killed, `moment` seconds after its start."""
    with started(project, command) as process:
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
    with started(project, FINETUNE) as process:
        assert process.wait() == 0
    seconds = time.monotonic() - began
    expected = hashed(project, "out")
    assert len(expected) > 5
    moments = random.Random(20)
    kills = 0
    while kills < KILLS:
        shutil.rmtree(project.root / "out", ignore_errors=True)
        while killed(project, FINETUNE, moments.uniform(0.0, seconds)):
            kills += 1
            assert set(hashed(project, "out/tuned")) <= set(expected), "half a model under a model's name"
        assert hashed(project, "out") == expected
    assert list((project.root / ".candor/finetune").iterdir()) == []


def questions_kept(project: Project) -> int:
    [store] = (project.root / ".candor/scores").glob("*.sqlite")
    with closing(sqlite3.connect(store)) as database:
        [count] = database.execute("SELECT count(*) FROM scores").fetchone()
    return int(count)


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
    write_parts(prompts, PROMPTS, project.root / "out/prompts.parquet")


@pytest.mark.slow
def test_a_judging_killed_at_random_moments_goes_on_to_the_same_bytes(project: Project) -> None:
    """Whatever was kept stays, more and more is, and what is half-written counts for nothing."""
    write_prompts(project, PROMPTS_TO_JUDGE)
    shutil.rmtree(project.root / ".candor/scores")
    began = time.monotonic()
    with started(project, JUDGE) as process:
        assert process.wait() == 0
    seconds = time.monotonic() - began
    expected, questions = hashed(project, "out/judged"), questions_kept(project)
    shutil.rmtree(project.root / "out/judged")
    shutil.rmtree(project.root / ".candor/scores")

    moments, kept = random.Random(5), [0]
    while killed(project, JUDGE, moments.uniform(0.5 * seconds, seconds)):
        kept.append(questions_kept(project))
        assert not (project.root / "out/judged/tiny-a.parquet").exists()
        assert len(kept) <= MOST_KILLS
    assert kept == sorted(kept) and kept[1] > 0 and len(kept) > 2
    assert hashed(project, "out/judged") == expected
    assert questions_kept(project) == questions
