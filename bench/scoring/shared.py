"""Counts the share of padding in batches of questions with a shared prefix, by the size of the batches.

Run from the project's folder: `python -m bench.scoring.shared HUB TOKENIZER`, where HUB is a folder of datasets in the
hub's layout and TOKENIZER a tokenizer.json. It plans the batches without running them, with the budget for shared
prefixes and with that of plain questions.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from bench.scoring.questions import Item, hard, mmlu
from stages.lm.scoring.batches import ACCELERATOR_BUDGET, CPU_BUDGET, TokenBudget, batch_shape, batches
from stages.lm.tokens.question_tree import encode_question
from stages.lm.tokens.trees import TokenTree

WINDOW = 8_192


def main(hub: Path, tokenizer: Path) -> None:
    """Prints a row for each list."""
    loaded = Tokenizer.from_file(str(tokenizer))
    columns = [
        f"{kind}, {size:,}"
        for kind, budget in (("CPU", CPU_BUDGET), ("accelerator", ACCELERATOR_BUDGET))
        for size in budget[::-1]
    ]
    print(f"| list | tokens | shapes | {' | '.join(columns)} |")
    print("|---|---:|---:" + "|---:" * len(columns) + "|")
    lists = {
        "MMLU, 100 questions of 4 subjects": mmlu(hub, 4, 25),
        "MMLU, 400 questions of 4 subjects": mmlu(hub, 4, 100),
        "MMLU, 7,658 questions of 29 subjects": mmlu(hub, 29, 2_000),
        "BIG-Bench Hard, 40 questions of 8 tasks": hard(hub, 8, 5),
        "BIG-Bench Hard, 720 questions of 12 tasks": hard(hub, 12, 60),
    }
    for name, items in lists.items():
        print(_row(name, _trees(items, loaded)))


def _trees(items: Sequence[Item], tokenizer: Tokenizer) -> list[TokenTree]:
    return [encode_question(tokenizer, item["prompt"], item["choices"], WINDOW, item["shared"]) for item in items]


def _row(name: str, trees: Sequence[TokenTree]) -> str:
    tokens = sum(len(tree.tokens) - tree.prefix_len for tree in trees)
    shares = [
        f"{1 - tokens / sum(batch.arrays.tokens_BT.size for batch in batches(trees, 1, TokenBudget(0, size))):.0%}"
        for size in (*CPU_BUDGET[::-1], *ACCELERATOR_BUDGET[::-1])
    ]
    return f"| {name} | {tokens:,} | {len(set(map(batch_shape, trees)))} | {' | '.join(shares)} |"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
