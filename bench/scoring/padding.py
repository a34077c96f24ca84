"""Counts the share of padding when a project's prompts are judged, by the number of groups of devices.

Run from the project's folder: `python -m bench.scoring.padding PROMPTS TOKENIZER [TIMES]`, where PROMPTS is a
prompts.parquet, TOKENIZER a tokenizer.json, and the list is repeated TIMES times (1). It plans the batches without
running them, and compares with batches of 16,384 tokens for each group and chunks of 4,096 questions.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from stages.lm.scoring.batches import (
    ACCELERATOR_BUDGET,
    CPU_BUDGET,
    BatchShape,
    TokenBudget,
    accelerator_budget,
    batch_shape,
)
from stages.lm.scoring.scorer import chunk_size
from stages.lm.tokens.plain_format import plain
from stages.lm.tokens.question_tree import encode_question
from stages.lm.tokens.trees import TokenTree
from stages.tables.parquet import open_table
from stages.tables.schemas import PROMPTS

GROUPS = (1, 4, 8, 16, 64, 192)
WINDOW = 8_192


def main(prompts: Path, tokenizer: Path, times: int) -> None:
    """Prints the padding share on a CPU, then by groups of accelerators."""
    trees = _trees(prompts, Tokenizer.from_file(str(tokenizer)))
    questions = [(batch_shape(tree), len(tree.tokens)) for tree in trees] * times
    shapes = {shape for shape, _ in questions}
    print(f"{len(questions):,} questions, {len(shapes)} shapes; a CPU: {_padding_share(questions, CPU_BUDGET, 1)}")
    print("| groups | tokens for each | padding | 16,384 tokens for each, 4,096 questions held |")
    print("|---:|---:|---:|---:|")
    for groups in GROUPS:
        budget = accelerator_budget(groups)
        fixed = _padding_share(questions, ACCELERATOR_BUDGET, groups, chunk=4_096)
        print(f"| {groups} | {budget.plain:,} | {_padding_share(questions, budget, groups)} | {fixed} |")


def _trees(prompts: Path, tokenizer: Tokenizer) -> Iterator[TokenTree]:
    """The opinion-free twins in both orders of their options, as `judge` scores them."""
    for batch in open_table(prompts, PROMPTS).iter_batches():
        columns = ("answer_prefix", "choices", "no_opinion_turns", "no_opinion_turns_swapped")
        for answer_prefix, choices, *orders in batch.select(columns).iter_rows():
            for turns in orders:
                yield encode_question(tokenizer, plain(turns, answer_prefix, ""), choices, WINDOW)


def _padding_share(
    questions: Sequence[tuple[BatchShape, int]], budget: TokenBudget, groups: int, chunk: int = 0
) -> str:
    chunk = chunk or chunk_size(budget.plain, groups)
    fed = 0
    for start in range(0, len(questions), chunk):
        for shape, count in Counter(shape for shape, _ in questions[start : start + chunk]).items():
            size = shape.rows(budget) * groups
            fed += -(-count // size) * size * shape.length
    return f"{1 - sum(length for _, length in questions) / fed:.1%}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
