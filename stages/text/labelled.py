"""From a bundled task's rows to labelled examples and instruction pairs."""

from pathlib import Path

import polars as pl

from stages.project.errors import UserError
from stages.text import bigbench, inputs
from stages.text.sources import InstructionSet, LabelledSet
from stages.text.tables import EXAMPLES_RAW, INSTRUCTIONS

SPLIT = "default"  # BIG-bench's JSON tasks have no splits.


def examples(entry: LabelledSet, task: Path, revision: str) -> pl.DataFrame:
    """The set's rows as labelled examples, in file order.

    Raises:
        UserError: an input or a label is of another form than the registry says; the message names file and row.
    """
    indices = {label: index for index, label in enumerate(entry.labels)}
    taken = [choice for choice in entry.read(task) if choice.label in indices or not entry.some_labels]
    rows = [(choice, *_parsed(entry, task, choice)) for choice in taken]
    table = pl.DataFrame(
        {
            "row": [choice.row for choice, _, _ in rows],
            "text": [inputs.quoted(*texts) for _, texts, _ in rows],
            "label": [_index(indices, task, choice) for choice, _, _ in rows],
            "cluster": [f"{entry.name}:{cluster}" for _, _, cluster in rows],
        }
    )
    return table.select(
        example=pl.format("{}:{}", pl.lit(entry.name), "row"),
        dataset=pl.lit(entry.name),
        text="text",
        label=pl.col("label").cast(pl.Int32),
        label_words=pl.lit(list(entry.labels.values())),
        cluster="cluster",
        source=pl.lit(f"{bigbench.ARCHIVE}/{entry.task}"),
        revision=pl.lit(revision),
        split=pl.lit(SPLIT),
        row=pl.col("row").cast(pl.Int64),
        licence=pl.lit(entry.licence),
    ).select(EXAMPLES_RAW.names)


def pairs(entry: InstructionSet, task: Path, revision: str) -> pl.DataFrame:
    """The set's rows as (input, target) pairs, each input led in by the set's instruction."""
    rows = bigbench.read_answers(task)
    table = pl.DataFrame(
        {
            "row": [answer.row for answer in rows],
            "input": [f"{entry.lead}\n\n{answer.input.strip()}" for answer in rows],
            "target": [answer.target.strip() for answer in rows],
        }
    )
    return table.select(
        pair=pl.format("{}:{}", pl.lit(entry.name), "row"),
        set=pl.lit(entry.name),
        input="input",
        target="target",
        source=pl.lit(f"{bigbench.ARCHIVE}/{entry.task}"),
        revision=pl.lit(revision),
        split=pl.lit(SPLIT),
        row=pl.col("row").cast(pl.Int64),
        licence=pl.lit(entry.licence),
    ).select(INSTRUCTIONS.names)


def _parsed(entry: LabelledSet, task: Path, choice: bigbench.Choice) -> tuple[tuple[str, ...], str]:
    try:
        return entry.parse(choice.input)
    except ValueError as error:
        raise UserError(
            f"{entry.name}: {task}, example {choice.row}: {error}, but it is {choice.input[:80]!r}"
        ) from None


def _index(indices: dict[str, int], task: Path, choice: bigbench.Choice) -> int:
    if choice.label not in indices:
        raise UserError(f"{task}, example {choice.row}: its label {choice.label!r} is none of {', '.join(indices)}")
    return indices[choice.label]
