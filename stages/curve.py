"""Stage `curve`: the measures of sycophancy over the steps of the fine-tuning, from its intermediate checkpoints.

Like `finetune`, it may run as several processes with the same arguments (CANDOR_PROCESSES).
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

# Tables of answers by step.
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
    """Evaluates the checkpoints in the folder SAVED like the tuned model folder MODEL, and compares each with base.

    The answers of step 0 and of the last step are in BASE_ANSWERS and TUNED_ANSWERS; only the steps between them are
    evaluated here.
    """
    params = read_params(CurveParams)
    tables = [read_table(suites / f"{name}.parquet", QUESTIONS) for name in params.suites]
    questions = about_users(pl.concat([read_table(claims, QUESTIONS), *tables]))
    base, tuned = (
        read_table(path, ANSWERS).join(questions, on="question", how="semi") for path in (base_answers, tuned_answers)
    )
    *intermediate, last = sorted(int(folder.name) for folder in saved.iterdir())
    answers = _evaluate_steps(intermediate, saved, model, questions, params) if intermediate else {}
    if processes.is_first():
        table = curve({0: base, **answers, last: tuned}, params.seed, params.bootstrap_samples)
        with atomic_file(out) as temporary:
            table.write_csv(temporary)


def about_users(questions: pl.DataFrame) -> pl.DataFrame:
    """The questions of the suites in which users state opinions; the other suites do not measure sycophancy."""
    return questions.filter(pl.col("user_choice").is_not_null().any().over("suite"))


def curve(answers: Answers, seed: int, bootstrap_samples: int) -> pl.DataFrame:
    """A row for each step and measure: its value, and its difference from that of step 0 with the 95% interval."""
    rows = [
        (step, name, result["tuned"], result["delta"], result["delta_low"], result["delta_high"], result["n"])
        for step, step_answers in answers.items()
        for name, result in headline(answers[0], step_answers, seed, bootstrap_samples).items()
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _evaluate_steps(
    steps: list[int], saved: Path, model: Path, questions: pl.DataFrame, params: CurveParams
) -> Answers:
    """The answers after each step; its checkpoint is written to scratch as a model folder, and deleted afterwards."""
    sharding = sharding_fn(device_mesh(environment.tensor_parallel()))
    scratch = scratch_dir() / "curve" / model.name
    answers = {}
    with locked_dir(scratch, f"the curve of {model.name}") if processes.is_first() else nullcontext():
        for step in steps:
            folder = scratch / str(step)
            checkpoints.as_model_folder(saved / str(step), model, folder, sharding)
            with open_scorer(folder, params.dtype, params.prompt_format) as (scorer, prompts):
                scores = score_table_in_formats(scorer, prompts, folder, params.prompt_format, questions)
            answers[step] = scores.select(ANSWERS.names)
            if processes.is_first():
                shutil.rmtree(folder)
    if processes.is_first():
        shutil.rmtree(scratch)
    return answers


if __name__ == "__main__":
    run(distributed_main(main))
