"""Stage `judge`: each prompt with the model's log-probabilities when nobody states an opinion."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from stages.lm.asking import Question, ask
from stages.lm.loading import open_model
from stages.params.judge import JudgeParams
from stages.project.errors import run
from stages.project.params import read_params
from stages.project.progress import progress
from stages.text.tables import JUDGED, PROMPTS, read_table, write_table


def main(prompts: Path, model: Path, out: Path) -> None:
    """Asks the model folder MODEL the opinion-free twins of PROMPTS, in both option orders."""
    knobs = read_params(JudgeParams)
    table = read_table(prompts, PROMPTS)
    twins = [*_twins(table, "bare_turns"), *_twins(table, "bare_turns_swapped")]
    with progress(f"judging with {model.name}", len(twins), "questions") as advance:
        logprobs = ask(open_model(model), twins, knobs.dtype, advance)
    original, swapped = logprobs[: table.height], logprobs[table.height :]
    judged = table.with_columns(logprobs=_column(original), logprobs_swapped=_column(swapped))
    write_table(judged, JUDGED, out)


def _twins(table: pl.DataFrame, turns: str) -> Iterator[Question]:
    for row in table.select("prompt", turns, "answer_prefix", "choices").iter_rows():
        yield Question(row[0], row[1], row[2], row[3])


def _column(logprobs: list[np.ndarray]) -> pl.Series:
    return pl.Series([values.tolist() for values in logprobs], dtype=pl.List(pl.Float32))


if __name__ == "__main__":
    run(main)
