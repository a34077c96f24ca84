"""What the sources hold, counted before anything is left out: the report that tells a mirror or a changed source apart.

Texts are compared as they are; overlaps with evaluations after normalisation (stages.text.claims.overlaps).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from stages.text.claims.overlaps import contains_any, found_in, normalised

# A field that was never filled, or a tag that was never taken out: [label], {name}, <unk>.
_PLACEHOLDER = r"\[[A-Za-z]\w*\]|\{\w+\}|<[A-Za-z]\w*>"


# Of each set, rows by the suite that they overlap with.
Overlaps = dict[str, dict[str, int]]


def validation(
    raw: pl.DataFrame, pairs: pl.DataFrame, overlaps: Overlaps, published: Mapping[str, int | None]
) -> dict[str, Any]:
    """Counts of each data set and instruction set of the tables, and of all data sets together.

    `published` holds the rows that a set has by its publisher, and under the empty name the pairs of text and label
    that the paper counts.
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
    """Of each set, the examples whose text stands in a question of each suite, and the pairs that hold a question.

    `suites` holds the texts of each one's questions.
    """
    texts = examples.select("dataset", text=normalised(pl.col("text")))
    inputs = pairs.select("set", text=normalised(pl.col("input")))
    found: Overlaps = {}
    for suite, questions in suites.items():
        standing = _sizes(texts.filter(found_in(texts["text"], questions)), "dataset")
        holding = _sizes(inputs.filter(contains_any(inputs["text"], questions)), "set")
        for name, rows in (standing | holding).items():
            found.setdefault(name, {})[suite] = rows
    return found


def _datasets(raw: pl.DataFrame, overlaps: Overlaps, published: Mapping[str, int | None]) -> dict[str, dict[str, Any]]:
    word = pl.when(pl.col("label") >= 0).then(pl.col("label_words").list.get(pl.col("label"), null_on_oob=True))
    # Numbers are cheaper to group by than texts; that two of a few million texts have one hash does not happen.
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
            **fact,
            "published_rows": published[name],
            "duplicates": fact["rows"] - distinct[name],
            **{key: size.get(name, 0) for key, size in sizes.items()},
            "labels": _labels(rows, name),
            "overlaps": overlaps.get(name, {}),
        }
        for name, fact in _facts(raw, "dataset", "text").items()
    }


def _instructions(pairs: pl.DataFrame, overlaps: Overlaps) -> dict[str, dict[str, Any]]:
    distinct = dict(pairs.group_by("set").agg(pl.col("input").n_unique()).iter_rows())
    return {
        name: {**fact, "duplicates": fact["rows"] - distinct[name], "overlaps": overlaps.get(name, {})}
        for name, fact in _facts(pairs, "set", "input").items()
    }


def _facts(table: pl.DataFrame, group: str, text: str) -> dict[str, dict[str, Any]]:
    """Of each set, where it comes from, its rows, and the median and the greatest length of its texts."""
    characters = pl.col(text).str.len_chars()
    facts = table.group_by(group, maintain_order=True).agg(
        *(pl.col(column).first() for column in ("source", "revision", "split", "licence")),
        rows=pl.len(),
        median_characters=characters.median().cast(pl.Int64),
        longest=characters.max(),
    )
    return {fact.pop(group): fact for fact in facts.to_dicts()}


def _with_several(table: pl.DataFrame, keys: list[str], column: str) -> pl.DataFrame:
    """The keys that stand with more than one value of the column."""
    ends = table.group_by(keys).agg(low=pl.col(column).min(), high=pl.col(column).max())
    return ends.filter(pl.col("low") != pl.col("high")).select(keys)


def _labels(rows: pl.DataFrame, name: str) -> dict[str, int]:
    found = rows.filter((pl.col("dataset") == name) & (pl.col("label") >= 0)).group_by("label", "word").len()
    return {word: count for _, word, count in found.sort("label").iter_rows()}


def _sizes(table: pl.DataFrame, group: str) -> dict[str, int]:
    return dict(table.group_by(group).len().iter_rows())
