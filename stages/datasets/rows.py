"""Reads a set's files as labelled examples or instruction pairs, with the provenance of each row."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from stages.core.errors import UserError
from stages.datasets import parse
from stages.datasets.kinds import BundledPairs, BundledSet, HubPairs, HubSet, InstructionSet, LabelledSet
from stages.sources import bigbench
from stages.sources.hub_tables import label_names, read_rows
from stages.tables.schemas import EXAMPLES_RAW, INSTRUCTIONS

UNLABELLED = -1


def examples(entry: LabelledSet, files: Sequence[Path], revision: str) -> pl.DataFrame:
    """The set's rows as labelled examples, in the order of its files; a row without a label has the label -1.

    Raises:
        UserError: a file, an input or a label does not have the form that the registry declares; the message names it.
    """
    table = _bundled_rows(entry, files[0]) if isinstance(entry, BundledSet) else _hub_rows(entry, files)
    return table.select(
        example=pl.format("{}:{}", pl.lit(entry.name), "row"),
        dataset=pl.lit(entry.name),
        text="text",
        label=pl.col("label").cast(pl.Int32),
        label_words=pl.lit(list(entry.labels.values())),
        cluster="cluster",
        source=pl.lit(entry.source),
        revision=pl.lit(revision),
        split=pl.lit(entry.split),
        row=pl.col("row").cast(pl.Int64),
        licence=pl.lit(entry.licence),
    ).select(EXAMPLES_RAW.names)


def pairs(entry: InstructionSet, files: Sequence[Path], revision: str) -> pl.DataFrame:
    """The set's rows as (input, target) pairs; the inputs of a bundled set begin with its instruction.

    Raises:
        UserError: a file does not have the form that the registry declares; the message names it.
    """
    table = _bundled_pairs(entry, files[0]) if isinstance(entry, BundledPairs) else _hub_pairs(entry, files)
    return table.select(
        pair=pl.format("{}:{}", pl.lit(entry.name), "row"),
        set=pl.lit(entry.name),
        input="input",
        target="target",
        source=pl.lit(entry.source),
        revision=pl.lit(revision),
        split=pl.lit(entry.split),
        row=pl.col("row").cast(pl.Int64),
        licence=pl.lit(entry.licence),
    ).select(INSTRUCTIONS.names)


def _bundled_rows(entry: BundledSet, task: Path) -> pl.DataFrame:
    indices = {label: index for index, label in enumerate(entry.labels)}
    choices = [choice for choice in entry.read(task) if choice.label in indices or not entry.some_labels]
    rows = [(choice, *_parse(entry, task, choice)) for choice in choices]
    return pl.DataFrame(
        {
            "row": [choice.row for choice, _, _ in rows],
            "text": [parse.quoted(*texts) for _, texts, _ in rows],
            "label": [_label_index(indices, task, choice) for choice, _, _ in rows],
            "cluster": [f"{entry.name}:{cluster}" for _, _, cluster in rows],
        }
    )


def _hub_rows(entry: HubSet, files: Sequence[Path]) -> pl.DataFrame:
    table = read_rows(entry.name, files, {**dict.fromkeys(entry.texts, pl.String), entry.label: pl.Int64})
    _check_label_names(entry, files[0])
    labels = table[entry.label].fill_null(UNLABELLED)
    is_invalid = ~labels.is_between(UNLABELLED, len(entry.labels) - 1)
    if is_invalid.any():
        row = is_invalid.to_list().index(True)
        raise UserError(
            f"{entry.name}: row {row} has the {entry.label} {labels[row]}; the set's labels are 0 to "
            f"{len(entry.labels) - 1} ({', '.join(entry.labels)}), and -1 for none; this is another set's file"
        )
    return table.select(
        row="row",
        text=parse.quoted_columns(*entry.texts),
        label=labels,
        cluster=pl.format("{}:{}", pl.lit(entry.name), pl.col(entry.texts[0]).fill_null("")),
    )


def _check_label_names(entry: HubSet, path: Path) -> None:
    # Label words are looked up by index: another order of names would silently make true claims false.
    names = label_names(path, entry.label) if path.suffix == ".parquet" else None
    if names is not None and names != list(entry.labels):
        raise UserError(
            f"{entry.name}: {path}: the labels of {entry.label} are {', '.join(names)}; "
            f"expected {', '.join(entry.labels)}, in this order"
        )


def _bundled_pairs(entry: BundledPairs, task: Path) -> pl.DataFrame:
    rows = bigbench.read_answers(task)
    return pl.DataFrame(
        {
            "row": [answer.row for answer in rows],
            "input": [f"{entry.instruction}\n\n{answer.input.strip()}" for answer in rows],
            "target": [answer.target.strip() for answer in rows],
        }
    )


def _hub_pairs(entry: HubPairs, files: Sequence[Path]) -> pl.DataFrame:
    columns: Mapping[str, pl.DataType | type[pl.DataType]] = {
        **dict.fromkeys((*entry.inputs, entry.target), pl.String),
        **({entry.options: pl.List(pl.String)} if entry.options else {}),
    }
    table = read_rows(entry.name, files, columns)
    parts = [pl.col(column).fill_null("").str.strip_chars() for column in entry.inputs]
    if entry.options:
        options = pl.format("Options:\n- {}", pl.col(entry.options).list.join("\n- "))
        parts.append(pl.when(pl.col(entry.options).list.len() > 0).then(options).otherwise(pl.lit("")))
    non_empty = [pl.when(part != "").then(part) for part in parts]
    return table.select(
        row="row",
        input=pl.concat_str(non_empty, separator="\n\n", ignore_nulls=True),
        target=pl.col(entry.target).fill_null("").str.strip_chars(),
    )


def _parse(entry: BundledSet, task: Path, choice: bigbench.Choice) -> tuple[tuple[str, ...], str]:
    try:
        return entry.parse(choice.input)
    except ValueError as error:
        raise UserError(
            f"{entry.name}: {task}, example {choice.row}: the input {error}, but is {choice.input[:80]!r}"
        ) from None


def _label_index(indices: dict[str, int], task: Path, choice: bigbench.Choice) -> int:
    if choice.label not in indices:
        raise UserError(
            f"{task}, example {choice.row}: the label is {choice.label!r}, expected one of {', '.join(indices)}"
        )
    return indices[choice.label]
