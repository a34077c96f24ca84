"""Stage `curve`: the measures of sycophancy after some of the fine-tuning's steps.

As `finetune`, several processes may be started with the same arguments (CANDOR_PROCESSES).
"""

import shutil
from contextlib import nullcontext
from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.files import atomic_file
from stages.core.params import read_params
from stages.core.scratch import locked_dir, scratch_dir
from stages.inference.formats import score_table_in_formats
from stages.inference.open import open_scorer
from stages.lm.distributed import environment, processes
from stages.lm.distributed.launch import distributed_main
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.training import checkpoints
from stages.params.curve import CurveParams
from stages.stats.measures import headline
from stages.tables.parquet import read_table
from stages.tables.schemas import ANSWERS, QUESTIONS

# By step.
Answers = dict[int, pl.DataFrame]

COLUMNS = {
    "step": pl.Int64,
    "measure": pl.String,
    "value": pl.Float64,
    "delta": pl.Float64,
    "delta_low": pl.Float64,
    "delta_high": pl.Float64,
    "n": pl.Int64,
}


def main(
    suites: Path, claims: Path, base_answers: Path, tuned_answers: Path, saved: Path, model: Path, out: Path
) -> None:
    """Measures the checkpoints in the folder SAVED as the tuned model folder MODEL was, and compares each with base.

    Step 0 and the last one are there already, in BASE_ANSWERS and TUNED_ANSWERS; only steps between them are asked.
    """
    knobs = read_params(CurveParams)
    tables = [read_table(suites / f"{name}.parquet", QUESTIONS) for name in knobs.suites]
    questions = about_users(pl.concat([read_table(claims, QUESTIONS), *tables]))
    base, tuned = (
        read_table(path, ANSWERS).join(questions, on="question", how="semi") for path in (base_answers, tuned_answers)
    )
    *kept, last = sorted(int(folder.name) for folder in saved.iterdir())
    between = _asked(kept, saved, model, questions, knobs) if kept else {}
    if processes.is_first():
        table = curve({0: base, **between, last: tuned}, knobs.seed, knobs.bootstrap_samples)
        with atomic_file(out) as temporary:
            table.write_csv(temporary)


def about_users(questions: pl.DataFrame) -> pl.DataFrame:
    """The questions of those suites in which users have views: what a user says moves no others."""
    return questions.filter(pl.col("user_choice").is_not_null().any().over("suite"))


def curve(answers: Answers, seed: int, bootstrap_samples: int) -> pl.DataFrame:
    """A row for each step and measure: its value, and how far it is from that of step 0, with its 95% interval."""
    rows = [
        (step, name, found["tuned"], found["delta"], found["delta_low"], found["delta_high"], found["n"])
        for step, after in answers.items()
        for name, found in headline(answers[0], after, seed, bootstrap_samples).items()
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _asked(steps: list[int], saved: Path, model: Path, questions: pl.DataFrame, knobs: CurveParams) -> Answers:
    """The answers after each of the steps, whose checkpoint is a model folder in scratch for as long as it is asked."""
    place = sharding_fn(device_mesh(environment.tensor_parallel()))
    scratch = scratch_dir() / "curve" / model.name
    answers = {}
    with locked_dir(scratch, f"the curve of {model.name}") if processes.is_first() else nullcontext():
        for step in steps:
            folder = scratch / str(step)
            checkpoints.as_model_folder(saved / str(step), model, folder, place)
            with open_scorer(folder, knobs.dtype, knobs.prompt_format) as (scorer, prompts):
                after = score_table_in_formats(scorer, prompts, folder, knobs.prompt_format, questions)
            answers[step] = after.select(ANSWERS.names)
            if processes.is_first():
                shutil.rmtree(folder)
    if processes.is_first():
        shutil.rmtree(scratch)
    return answers


if __name__ == "__main__":
    run(distributed_main(main))
