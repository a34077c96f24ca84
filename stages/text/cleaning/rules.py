"""Which examples pass: empty, damaged, long, conflicting, repeated and overlapping ones are left out and counted."""

from dataclasses import dataclass

import polars as pl

from stages.tables.schemas import HELD_OUT, TRAIN
from stages.text.claims.draws import SPLIT_SALT, shares
from stages.text.claims.overlaps import SHORTEST_OVERLAP, contains_any, found_in, nfkc, normalised

_EMPTY = '""'
_DAMAGED = "\ufffd"

RuleCounts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Cleaned:
    """What passed, per set how many rows each rule left out, and all rows that overlap, whatever rule left them out."""

    table: pl.DataFrame
    counts: RuleCounts
    overlapping: pl.DataFrame


def clean_examples(raw: pl.DataFrame, questions: pl.Series, held_out: float, max_characters: int) -> Cleaned:
    """Examples that pass, in their order, with the part (train or held_out) that their cluster belongs to.

    `questions` are the texts of all evaluation questions. Of equal texts with one label the first stays, also across
    data sets; equal texts of one data set with different labels are all left out.
    """
    # Row by row all columns are much to carry through the rules; `place` leads back to them.
    table = raw.select("dataset", "text", "label", normal=normalised(pl.col("text"))).with_row_index("place")
    table = table.with_columns(overlap=found_in(table["normal"], questions))
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
    parted = passed.with_columns(part=_part(raw["cluster"][passed["place"]], held_out))
    is_shared = _shares_a_held_out_text(parted)
    kept = parted.filter(~is_shared)
    groups = {
        "held_out_texts": parted.filter(is_shared),
        "kept": kept,
        "held_out": kept.filter(pl.col("part") == HELD_OUT),
    }
    for column, part in groups.items():
        _count(counts, column, part, "dataset")
    return Cleaned(raw[kept["place"]].with_columns(kept["part"]), counts, raw.filter(table["overlap"]))


def clean_pairs(raw: pl.DataFrame, questions: pl.Series, held_out: pl.Series) -> Cleaned:
    """Instruction pairs that pass; `held_out` are the texts of held-out examples, which must not be trained on."""
    avoided = pl.concat([questions, _pieces(held_out)])
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
    for rule, leaves_out in rules.items():
        _count(counts, rule, table.filter(leaves_out), group)
        table = table.filter(~leaves_out)
    return table, counts


def _count(counts: RuleCounts, column: str, table: pl.DataFrame, group: str) -> None:
    sizes = _sizes(table, group)
    for name in counts:
        counts[name][column] = sizes.get(name, 0)


def _sizes(table: pl.DataFrame, group: str) -> dict[str, int]:
    return dict(table.group_by(group, maintain_order=True).len().iter_rows())


def _part(clusters: pl.Series, held_out: float) -> pl.Series:
    # By the cluster's own hash and without the seed: an example is held out in every run, for every seed.
    different = clusters.unique()
    apart = different.filter(pl.Series(shares(SPLIT_SALT, different) < held_out, dtype=pl.Boolean))
    parts = pl.when(pl.col("cluster").is_in(apart.implode())).then(pl.lit(HELD_OUT)).otherwise(pl.lit(TRAIN))
    return clusters.to_frame("cluster").select(part=parts)["part"]


def _shares_a_held_out_text(table: pl.DataFrame) -> pl.Series:
    """Whether each training example quotes a text that a held-out example quotes too, in another set or cluster.

    Compared by letters and digits: sets that quote one source differ in spaces and punctuation.
    """
    quoted = (
        table.select("part", piece=_quoted_texts(pl.col("text")))
        .with_row_index("place")
        .explode("piece")
        .with_columns(nfkc(pl.col("piece")).str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]", ""))
        .filter(pl.col("piece").str.len_chars() >= SHORTEST_OVERLAP)
    )
    held_out = quoted.filter(pl.col("part") == HELD_OUT)["piece"].unique()
    shared = quoted.filter((pl.col("part") == TRAIN) & pl.col("piece").is_in(held_out.implode()))["place"]
    return pl.int_range(table.height, eager=True, dtype=pl.UInt32).is_in(shared.implode())


def _quoted_texts(text: pl.Expr) -> pl.Expr:
    """The texts that a claim's input quotes: one, or two of a pair."""
    return text.str.strip_chars('"').str.split('" and "')


def _pieces(texts: pl.Series) -> pl.Series:
    return texts.to_frame("text").select(_quoted_texts(pl.col("text")).explode())["text"]
