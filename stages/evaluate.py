"""Stage `evaluate`: a model's answers to all evaluation questions.

Like `finetune`, it may run as several processes with the same arguments (CANDOR_PROCESSES).
"""

from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.params import read_params
from stages.core.progress import progress
from stages.inference.formats import score_table_in_formats
from stages.inference.open import open_scorer
from stages.inference.tables import to_questions
from stages.lm.distributed import processes
from stages.lm.distributed.launch import distributed_main
from stages.lm.generation.answers import generate_answers
from stages.lm.scoring.scorer import Scorer
from stages.lm.tokens.prompt_formats import Prompts
from stages.params.evaluate import EvaluateParams
from stages.tables.parquet import read_table, write_table
from stages.tables.schemas import ANSWERS, QUESTIONS, WRITTEN


def main(suites: Path, claims: Path, model: Path, out: Path) -> None:
    """Asks the model folder MODEL the questions in CLAIMS and in the listed suites of the folder SUITES.

    The model chooses among the choices of a question, or generates an answer if `answer_kind` says so.
    """
    params = read_params(EvaluateParams)
    tables = [read_table(suites / f"{name}.parquet", QUESTIONS) for name in params.suites]
    questions = pl.concat([read_table(claims, QUESTIONS), *tables])
    is_written = pl.col("answer_kind") == WRITTEN
    with open_scorer(model, params.dtype, params.prompt_format) as (scorer, prompts):
        chosen = score_table_in_formats(scorer, prompts, model, params.prompt_format, questions.filter(~is_written))
        written = _generate_table(scorer, prompts, questions.filter(is_written), params.max_new_tokens)
    if processes.is_first():
        answers = pl.concat([table.select(ANSWERS.names) for table in (chosen, written)])
        in_order = questions.select("question").join(answers, on="question", maintain_order="left")
        write_table(in_order.select(ANSWERS.names), ANSWERS, out)


def _generate_table(scorer: Scorer, prompts: Prompts, questions: pl.DataFrame, max_new_tokens: int) -> pl.DataFrame:
    texts: list[str] = []
    if questions.height:
        with progress("writing", questions.height, "answers") as advance:
            texts = generate_answers(scorer, prompts, to_questions(questions), max_new_tokens, advance)
    return questions.with_columns(
        logprobs=pl.lit(None, dtype=pl.List(pl.Float32)),
        margin=pl.lit(None, dtype=pl.Float32),
        generated=pl.Series(texts, dtype=pl.String),
        chosen=pl.lit(None, dtype=pl.Int32),
    )


if __name__ == "__main__":
    run(distributed_main(main))
