"""Counts of what the sources contain before cleaning: a report that reveals a partial mirror or a changed source.

Texts are compared unchanged, except for overlaps with evaluations, which are searched for after normalisation
(stages.text.claims.overlaps).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from stages.text.claims.overlaps import contains_any, normalised, occurs_in

# A field that was never filled in, or a tag that was never removed: [label], {name}, <unk>.
_PLACEHOLDER = r"\[[A-Za-z]\w*\]|\{\w+\}|<[A-Za-z]\w*>"

# For each set, the number of rows that overlap with each suite.
Overlaps = dict[str, dict[str, int]]


def validation(
    raw: pl.DataFrame, pairs: pl.DataFrame, overlaps: Overlaps, published: Mapping[str, int | None]
) -> dict[str, Any]:
    """Counts for each data set and instruction set, and for all data sets together.

    `published` maps a set to its number of rows according to its publisher, and the empty name to the number of pairs
    of text and label that the paper reports.
    """
    return {
        "datasets": _datasets(raw, overlaps, published),
        "instructions": _instructions(pairs, overlaps),
        "total": {
            "rows": raw.height,
            "published_rows": sum(published[name] or 0 for name in raw["dataset"].unique()),
            "distinct_in_sets": raw.select(pl.struct("dataset", "text").n_unique()).item() if raw.height else 0,
            "distinct": raw["text"].n_unique(),
            "paper": published[""],
        },
    }


def overlaps_by_suite(examples: pl.DataFrame, pairs: pl.DataFrame, suites: Mapping[str, pl.Series]) -> Overlaps:
    """Counts, for each set and suite, the examples that occur in a question and the pairs that contain a question.

    `suites` maps a suite to the texts of its questions.
    """
    texts = examples.select("dataset", text=normalised(pl.col("text")))
    inputs = pairs.select("set", text=normalised(pl.col("input")))
    overlaps: Overlaps = {}
    for suite, questions in suites.items():
        in_questions = _sizes(texts.filter(occurs_in(texts["text"], questions)), "dataset")
        with_questions = _sizes(inputs.filter(contains_any(inputs["text"], questions)), "set")
        for name, rows in (in_questions | with_questions).items():
            overlaps.setdefault(name, {})[suite] = rows
    return overlaps


def _datasets(raw: pl.DataFrame, overlaps: Overlaps, published: Mapping[str, int | None]) -> dict[str, dict[str, Any]]:
    word = pl.when(pl.col("label") >= 0).then(pl.col("label_words").list.get(pl.col("label"), null_on_oob=True))
    # Hashes are cheaper to group by than texts, and a collision among a few million texts is very unlikely.
    rows = raw.select("dataset", "text", "label", word=word).with_columns(text_id=pl.col("text").hash())
    labelled = rows.filter(pl.col("label") >= 0)
    contradicted = _with_several(labelled, ["dataset", "text_id"], "label")
    elsewhere = _with_several(rows, ["text_id"], "dataset")
    disputed = _with_several(labelled, ["text_id"], "word")
    counts = {
        "unlabelled": rows.filter(pl.col("label") < 0),
        "contradicting_in_set": rows.join(contradicted, on=["dataset", "text_id"], how="semi"),
        "in_other_sets": rows.join(elsewhere, on="text_id", how="semi"),
        "contradicting_in_any": rows.join(disputed, on="text_id", how="semi"),
        "placeholders": rows.filter(pl.col("text").str.contains(_PLACEHOLDER)),
    }
    sizes = {key: _sizes(table, "dataset") for key, table in counts.items()}
    distinct = dict(rows.group_by("dataset").agg(pl.col("text_id").n_unique()).iter_rows())
    return {
        name: {
            **summary,
            "published_rows": published[name],
            "duplicates": summary["rows"] - distinct[name],
            **{key: size.get(name, 0) for key, size in sizes.items()},
            "labels": _labels(rows, name),
            "overlaps": overlaps.get(name, {}),
        }
        for name, summary in _summaries(raw, "dataset", "text").items()
    }


def _instructions(pairs: pl.DataFrame, overlaps: Overlaps) -> dict[str, dict[str, Any]]:
    distinct = dict(pairs.group_by("set").agg(pl.col("input").n_unique()).iter_rows())
    return {
        name: {**summary, "duplicates": summary["rows"] - distinct[name], "overlaps": overlaps.get(name, {})}
        for name, summary in _summaries(pairs, "set", "input").items()
    }


def _summaries(table: pl.DataFrame, group: str, text: str) -> dict[str, dict[str, Any]]:
    """For each set, its source, its number of rows, and the median and maximum length of its texts in characters."""
    characters = pl.col(text).str.len_chars()
    summaries = table.group_by(group, maintain_order=True).agg(
        *(pl.col(column).first() for column in ("source", "revision", "split", "licence")),
        rows=pl.len(),
        median_characters=characters.median().cast(pl.Int64),
        longest=characters.max(),
    )
    return {summary.pop(group): summary for summary in summaries.to_dicts()}


def _with_several(table: pl.DataFrame, keys: list[str], column: str) -> pl.DataFrame:
    """The keys for which the column has more than one value."""
    ranges = table.group_by(keys).agg(low=pl.col(column).min(), high=pl.col(column).max())
    return ranges.filter(pl.col("low") != pl.col("high")).select(keys)


def _labels(rows: pl.DataFrame, name: str) -> dict[str, int]:
    counts = rows.filter((pl.col("dataset") == name) & (pl.col("label") >= 0)).group_by("label", "word").len()
    return {word: count for _, word, count in counts.sort("label").iter_rows()}


def _sizes(table: pl.DataFrame, group: str) -> dict[str, int]:
    return dict(table.group_by(group).len().iter_rows())
