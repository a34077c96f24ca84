"""Stage `judge`: each prompt with the model's log-probabilities when nobody states an opinion.

As `finetune`, several processes may be started with the same arguments (CANDOR_PROCESSES).
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
    """Asks the model folder MODEL the opinion-free twins of PROMPTS, in both option orders."""
    knobs = read_params(JudgeParams)
    table = open_table(prompts, PROMPTS)
    with (
        open_scorer(model, knobs.dtype, knobs.prompt_format) as (scorer, asking),
        progress(f"judging with {model.name}", 2 * table.height, "questions") as advance,
    ):
        judged = _judged(table, score_questions(scorer, asking, _twins(table), advance))
        if processes.is_first():
            write_batches(judged, JUDGED, out)
        else:
            deque(judged, maxlen=0)  # asks with the others


def _twins(table: TableFile) -> Iterator[Question]:
    """Of each prompt, the twin in the original option order and the one in the other."""
    for part in table.iter_batches():
        columns = ("prompt", "no_opinion_turns", "no_opinion_turns_swapped", "answer_prefix", "choices")
        for name, turns, swapped, answer_prefix, choices in part.select(columns).iter_rows():
            yield Question(name, turns, answer_prefix, choices)
            yield Question(name, swapped, answer_prefix, choices)


def _judged(table: TableFile, logprobs: Iterable[np.ndarray]) -> Iterator[pl.DataFrame]:
    """The prompts with what came of their twins, as it comes."""
    coming = iter(logprobs)
    for part in table.iter_batches():
        of_twins = list(islice(coming, 2 * part.height))
        original, swapped = of_twins[::2], of_twins[1::2]
        yield part.with_columns(
            logprobs=logprobs_series(original), logprobs_swapped=logprobs_series(swapped)
        ).with_columns(margin=margin("logprobs"), margin_swapped=margin("logprobs_swapped"))


if __name__ == "__main__":
    run(distributed_main(main))
