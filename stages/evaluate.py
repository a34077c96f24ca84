"""Stage `evaluate`: a model's answers to every question of the evaluation.

As `finetune`, several processes may be started with the same arguments (CANDOR_PROCESSES).
"""

from pathlib import Path

import polars as pl

from stages.lm import processes
from stages.lm.asking import Question, ask
from stages.params.evaluate import EvaluateParams
from stages.project.errors import run
from stages.project.params import read_params
from stages.project.progress import progress
from stages.project.scorers import open_scorer
from stages.text.tables import ANSWERS, QUESTIONS, read_table, write_table


def main(suites: Path, claims: Path, model: Path, out: Path) -> None:
    """Asks the model folder MODEL the questions in CLAIMS and of the listed suites in the folder SUITES."""
    knobs = read_params(EvaluateParams)
    tables = [read_table(suites / f"{name}.parquet", QUESTIONS) for name in knobs.suites]
    questions = pl.concat([read_table(claims, QUESTIONS), *tables])
    columns = ("question", "turns", "answer_prefix", "choices", "shared_prefix")
    asked = (Question(*row) for row in questions.select(columns).iter_rows())
    with (
        open_scorer(model, knobs.dtype) as (scorer, tokenizer),
        progress(f"asking {model}", questions.height, "questions") as advance,
    ):
        logprobs = ask(scorer, tokenizer, asked, advance)
    if not processes.is_first():
        return
    answers = questions.with_columns(
        logprobs=pl.Series([values.tolist() for values in logprobs], dtype=pl.List(pl.Float32)),
        generated=pl.lit(None, dtype=pl.String),
    ).with_columns(chosen=pl.col("logprobs").list.arg_max().cast(pl.Int32))
    write_table(answers.select(ANSWERS.names), ANSWERS, out)


if __name__ == "__main__":
    run(main)
