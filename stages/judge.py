"""Stage `judge`: each prompt with the model's log-probabilities when nobody states an opinion.

As `finetune`, several processes may be started with the same arguments (CANDOR_PROCESSES).
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from stages.lm import processes
from stages.lm.asking import Question, ask
from stages.params.judge import JudgeParams
from stages.project.answering import column
from stages.project.errors import run
from stages.project.params import read_params
from stages.project.progress import progress
from stages.project.scorers import open_scorer
from stages.project.together import together
from stages.stats.choices import margin
from stages.text.tables import JUDGED, PROMPTS, read_table, write_table


def main(prompts: Path, model: Path, out: Path) -> None:
    """Asks the model folder MODEL the opinion-free twins of PROMPTS, in both option orders."""
    knobs = read_params(JudgeParams)
    table = read_table(prompts, PROMPTS)
    twins = chain(_twins(table, "bare_turns"), _twins(table, "bare_turns_swapped"))
    with (
        open_scorer(model, knobs.dtype, knobs.prompt_format) as (scorer, asking),
        progress(f"judging with {model.name}", 2 * table.height, "questions") as advance,
    ):
        logprobs = ask(scorer, asking, twins, advance)
    if not processes.is_first():
        return
    original, swapped = logprobs[: table.height], logprobs[table.height :]
    judged = table.with_columns(logprobs=column(original), logprobs_swapped=column(swapped)).with_columns(
        margin=margin("logprobs"), margin_swapped=margin("logprobs_swapped")
    )
    write_table(judged, JUDGED, out)


def _twins(table: pl.DataFrame, turns: str) -> Iterator[Question]:
    for row in table.select("prompt", turns, "answer_prefix", "choices").iter_rows():
        yield Question(row[0], row[1], row[2], row[3])


if __name__ == "__main__":
    run(together(main))
