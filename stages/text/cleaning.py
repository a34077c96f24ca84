"""Which examples pass: empty, damaged, long, conflicting, repeated and overlapping ones are left out and counted."""

from dataclasses import dataclass

import polars as pl

from stages.text.draws import SPLIT_SALT, shares

TRAIN, HELD_OUT = "train", "held_out"

# A shorter text can stand in a question by chance ("Thank you."), which is no overlap.
SHORTEST_OVERLAP = 20

_EMPTY = '""'
_DAMAGED = "\ufffd"

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Cleaned:
    """What passed, and per set how many rows each rule left out."""

    table: pl.DataFrame
    counts: Counts


def normalised(text: pl.Expr) -> pl.Expr:
    """Text as overlaps are looked for: Unicode NFKC, lower case, single spaces, no quotes of the claim around it."""
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(' "')


def clean_examples(raw: pl.DataFrame, questions: pl.Series, held_out: float, max_characters: int) -> Cleaned:
    """Examples that pass, in their order, with the part (train or held_out) that their cluster belongs to.

    `questions` are the texts of all evaluation questions. Of equal texts with one label the first stays, also across
    data sets; equal texts of one data set with different labels are all left out.
    """
    table = raw.with_columns(
        normal=normalised(pl.col("text")), overlap=_found_in(normalised(pl.col("text")), raw, questions)
    )
    rules = {
        "empty": pl.col("text").str.contains(_EMPTY, literal=True) | ~pl.col("text").str.contains(r"\p{L}"),
        "damaged": pl.col("text").str.contains(_DAMAGED, literal=True),
        "too_long": pl.col("text").str.len_chars() > max_characters,
        "conflicts": pl.col("label").n_unique().over("dataset", "normal") > 1,
        "duplicates": ~pl.struct("dataset", "normal").is_first_distinct(),
        "in_other_sets": ~pl.col("normal").is_first_distinct(),
        "overlaps": pl.col("overlap"),
    }
    passed, counts = _apply(table, "dataset", rules)
    parted = passed.with_columns(part=_part(passed["cluster"], held_out)).drop("normal", "overlap")
    shared = parted.filter(_shares_a_held_out_text(parted))
    parted = parted.join(shared.select("example"), on="example", how="anti", maintain_order="left")
    groups = {"held_out_texts": shared, "kept": parted, "held_out": parted.filter(pl.col("part") == HELD_OUT)}
    for column, part in groups.items():
        _count(counts, column, part, "dataset")
    return Cleaned(parted, counts)


def clean_pairs(raw: pl.DataFrame, questions: pl.Series, held_out: pl.Series) -> Cleaned:
    """Instruction pairs that pass; `held_out` are the texts of held-out examples, which must not be trained on."""
    avoided = pl.concat([questions, _pieces(held_out)])
    table = raw.with_columns(overlap=_contains_any(normalised(pl.col("input")), raw, avoided))
    rules = {
        "empty": (pl.col("input").str.strip_chars() == "") | (pl.col("target").str.strip_chars() == ""),
        "duplicates": ~pl.struct(normalised(pl.col("input"))).is_first_distinct(),
        "overlaps": pl.col("overlap"),
    }
    passed, counts = _apply(table, "set", rules)
    _count(counts, "kept", passed, "set")
    return Cleaned(passed.drop("overlap"), counts)


def _apply(table: pl.DataFrame, group: str, rules: dict[str, pl.Expr]) -> tuple[pl.DataFrame, Counts]:
    counts: Counts = {name: {"raw": rows} for name, rows in _sizes(table, group).items()}
    for rule, leaves_out in rules.items():
        _count(counts, rule, table.filter(leaves_out), group)
        table = table.filter(~leaves_out)
    return table, counts


def _count(counts: Counts, column: str, table: pl.DataFrame, group: str) -> None:
    sizes = _sizes(table, group)
    for name in counts:
        counts[name][column] = sizes.get(name, 0)


def _sizes(table: pl.DataFrame, group: str) -> dict[str, int]:
    return dict(table.group_by(group, maintain_order=True).len().iter_rows())


def _part(clusters: pl.Series, held_out: float) -> pl.Series:
    # By the cluster's own hash and without the seed: an example is held out in every run, for every seed.
    parts = [HELD_OUT if share < held_out else TRAIN for share in shares(SPLIT_SALT, clusters)]
    return pl.Series("part", parts, dtype=pl.String)


def _shares_a_held_out_text(table: pl.DataFrame) -> pl.Series:
    """Whether each training example quotes a text that a held-out example quotes too, in another set or cluster.

    Compared by letters and digits: sets that quote one source differ in spaces and punctuation.
    """
    quoted = (
        table.select("part", piece=_quoted_texts(pl.col("text")))
        .with_row_index("place")
        .explode("piece")
        .with_columns(pl.col("piece").str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]", ""))
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


def _found_in(normal: pl.Expr, table: pl.DataFrame, questions: pl.Series) -> pl.Series:
    """Whether each text of the table stands inside one of the questions."""
    texts = table.select(normal.alias("text"))["text"]
    patterns = texts.filter(texts.str.len_chars() >= SHORTEST_OVERLAP).unique(maintain_order=True)
    if questions.is_empty() or patterns.is_empty():
        return pl.Series([False] * len(texts), dtype=pl.Boolean)
    asked = questions.to_frame("question").select(normalised(pl.col("question")))["question"]
    found = asked.str.extract_many(patterns.implode(), overlapping=True).explode().drop_nulls().unique()
    return texts.is_in(found.implode())


def _contains_any(normal: pl.Expr, table: pl.DataFrame, avoided: pl.Series) -> pl.Series:
    """Whether each text of the table contains one of the texts to avoid."""
    texts = table.select(normal.alias("text"))["text"]
    asked = avoided.to_frame("text").select(normalised(pl.col("text")))["text"]
    patterns = asked.filter(asked.str.len_chars() >= SHORTEST_OVERLAP).unique(maintain_order=True)
    if patterns.is_empty():
        return pl.Series([False] * len(texts), dtype=pl.Boolean)
    return texts.str.contains_any(patterns.implode())
