"""Stage `judge`: adds to each prompt the model's log-probabilities for the same question without an opinion.

Like `finetune`, it may run as several processes with the same arguments (CANDOR_PROCESSES).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from stages.core.errors import run
from stages.core.params import read_params
from stages.core.progress import progress
from stages.inference.open import open_scorer
from stages.inference.tables import logprobs_series, margin
from stages.lm.distributed import processes
from stages.lm.distributed.launch import distributed_main
from stages.lm.scoring.questions import Question, score_questions
from stages.params.judge import JudgeParams
from stages.tables.parquet import TableFile, open_table, write_batches
from stages.tables.schemas import JUDGED, PROMPTS


def main(prompts: Path, model: Path, out: Path) -> None:
    """Scores the opinion-free twins of PROMPTS with the model folder MODEL, in both option orders."""
    params = read_params(JudgeParams)
    table = open_table(prompts, PROMPTS)
    with (
        open_scorer(model, params.dtype, params.prompt_format) as (scorer, formatter),
        progress(f"judging with {model.name}", 2 * table.height, "questions") as advance,
    ):
        judged = _judged(table, score_questions(scorer, formatter, _twins(table), advance))
        if processes.is_first():
            write_batches(judged, JUDGED, out)
        else:
            deque(judged, maxlen=0)  # computes with the first process, but writes nothing


def _twins(table: TableFile) -> Iterator[Question]:
    """Two questions for each prompt: its twin in the original option order, and in the swapped one."""
    for batch in table.iter_batches():
        columns = ("prompt", "no_opinion_turns", "no_opinion_turns_swapped", "answer_prefix", "choices")
        for name, turns, swapped, answer_prefix, choices in batch.select(columns).iter_rows():
            yield Question(name, turns, answer_prefix, choices)
            yield Question(name, swapped, answer_prefix, choices)


def _judged(table: TableFile, logprobs: Iterable[np.ndarray]) -> Iterator[pl.DataFrame]:
    """The prompts with the scores of their twins, batch by batch."""
    scores = iter(logprobs)
    for batch in table.iter_batches():
        twin_scores = list(islice(scores, 2 * batch.height))
        original, swapped = twin_scores[::2], twin_scores[1::2]
        yield batch.with_columns(
            logprobs=logprobs_series(original), logprobs_swapped=logprobs_series(swapped)
        ).with_columns(margin=margin("logprobs"), margin_swapped=margin("logprobs_swapped"))


if __name__ == "__main__":
    run(distributed_main(main))
