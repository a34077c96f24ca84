"""The cleaning rules: remove and count rows that are empty, damaged, long, conflicting, repeated or overlapping."""

from dataclasses import dataclass

import polars as pl

from stages.tables.schemas import HELD_OUT, TRAIN
from stages.text.claims.draws import SPLIT_SALT, uniform
from stages.text.claims.overlaps import SHORTEST_OVERLAP, contains_any, nfkc, normalised, occurs_in

_EMPTY = '""'
_DAMAGED = "\ufffd"

RuleCounts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Cleaned:
    """The rows that passed, for each set how many each rule removed, and all rows that overlap with a question.

    A row that overlaps may have been removed, and counted, by an earlier rule.
    """

    table: pl.DataFrame
    counts: RuleCounts
    overlapping: pl.DataFrame


def clean_examples(raw: pl.DataFrame, questions: pl.Series, held_out: float, max_characters: int) -> Cleaned:
    """The examples that pass, in their order, with the part (train or held_out) of their cluster.

    `questions` are the texts of all evaluation questions. Of equal texts with one label the first stays, also across
    data sets; equal texts of one data set with different labels are all removed.
    """
    # The rules filter a narrow table, which saves memory; `index` is the row in `raw`.
    table = raw.select("dataset", "text", "label", normal=normalised(pl.col("text"))).with_row_index("index")
    table = table.with_columns(overlap=occurs_in(table["normal"], questions))
    texts = pl.struct("dataset", "normal")
    rules = {
        "unlabelled": pl.col("label") < 0,
        "empty": pl.col("text").str.contains(_EMPTY, literal=True) | ~pl.col("text").str.contains(r"\p{L}"),
        "damaged": pl.col("text").str.contains(_DAMAGED, literal=True),
        "too_long": pl.col("text").str.len_chars() > max_characters,
        "conflicts": pl.col("label").min().over("dataset", "normal") != pl.col("label").max().over("dataset", "normal"),
        "duplicates": ~texts.is_first_distinct(),
        "in_other_sets": ~pl.col("normal").is_first_distinct(),
        "overlaps": pl.col("overlap"),
    }
    passed, counts = _apply(table, "dataset", rules)
    split = passed.with_columns(part=_part(raw["cluster"][passed["index"]], held_out))
    is_shared = _quotes_held_out_text(split)
    remaining = split.filter(~is_shared)
    groups = {
        "held_out_texts": split.filter(is_shared),
        "kept": remaining,
        "held_out": remaining.filter(pl.col("part") == HELD_OUT),
    }
    for column, group in groups.items():
        _count(counts, column, group, "dataset")
    return Cleaned(raw[remaining["index"]].with_columns(remaining["part"]), counts, raw.filter(table["overlap"]))


def clean_pairs(raw: pl.DataFrame, questions: pl.Series, held_out: pl.Series) -> Cleaned:
    """The instruction pairs that pass.

    `held_out` are the texts of held-out examples, which must not be trained on.
    """
    avoided = pl.concat([questions, _all_quoted_texts(held_out)])
    inputs = raw.select(normalised(pl.col("input")))["input"]
    table = raw.with_columns(normal=inputs, overlap=contains_any(inputs, avoided))
    rules = {
        "empty": (pl.col("input").str.strip_chars() == "") | (pl.col("target").str.strip_chars() == ""),
        "duplicates": ~pl.col("normal").is_first_distinct(),
        "overlaps": pl.col("overlap"),
    }
    passed, counts = _apply(table, "set", rules)
    _count(counts, "kept", passed, "set")
    return Cleaned(passed.drop("normal", "overlap"), counts, raw.filter(table["overlap"]))


def _apply(table: pl.DataFrame, group: str, rules: dict[str, pl.Expr]) -> tuple[pl.DataFrame, RuleCounts]:
    counts: RuleCounts = {name: {"raw": rows} for name, rows in _sizes(table, group).items()}
    for rule, is_removed in rules.items():
        _count(counts, rule, table.filter(is_removed), group)
        table = table.filter(~is_removed)
    return table, counts


def _count(counts: RuleCounts, column: str, table: pl.DataFrame, group: str) -> None:
    sizes = _sizes(table, group)
    for name in counts:
        counts[name][column] = sizes.get(name, 0)


def _sizes(table: pl.DataFrame, group: str) -> dict[str, int]:
    return dict(table.group_by(group, maintain_order=True).len().iter_rows())


def _part(clusters: pl.Series, held_out: float) -> pl.Series:
    # By a hash of the cluster, without the seed: an example is held out in every run, for every seed.
    distinct = clusters.unique()
    chosen = distinct.filter(pl.Series(uniform(SPLIT_SALT, distinct) < held_out, dtype=pl.Boolean))
    parts = pl.when(pl.col("cluster").is_in(chosen.implode())).then(pl.lit(HELD_OUT)).otherwise(pl.lit(TRAIN))
    return clusters.to_frame("cluster").select(part=parts)["part"]


def _quotes_held_out_text(table: pl.DataFrame) -> pl.Series:
    """For each row, whether it is a training example that quotes a text of a held-out example.

    That happens across sets and clusters. Texts are compared by letters and digits, because sets that quote the same
    source differ in spaces and punctuation.
    """
    quoted = (
        table.select("part", quote=_quoted_texts(pl.col("text")))
        .with_row_index("index")
        .explode("quote")
        .with_columns(nfkc(pl.col("quote")).str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]", ""))
        .filter(pl.col("quote").str.len_chars() >= SHORTEST_OVERLAP)
    )
    held_out = quoted.filter(pl.col("part") == HELD_OUT)["quote"].unique()
    shared = quoted.filter((pl.col("part") == TRAIN) & pl.col("quote").is_in(held_out.implode()))["index"]
    return pl.int_range(table.height, eager=True, dtype=pl.UInt32).is_in(shared.implode())


def _quoted_texts(text: pl.Expr) -> pl.Expr:
    """The list of texts that a claim's input quotes: one, or the two of a pair."""
    return text.str.strip_chars('"').str.split('" and "')


def _all_quoted_texts(texts: pl.Series) -> pl.Series:
    return texts.to_frame("text").select(_quoted_texts(pl.col("text")).explode())["text"]
