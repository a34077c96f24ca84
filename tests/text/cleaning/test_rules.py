"""Each cleaning rule on a tiny table with its counts, and the split by cluster."""

from typing import Any

import polars as pl
import pytest

from stages.tables.schemas import EXAMPLES, EXAMPLES_RAW, HELD_OUT, INSTRUCTIONS, TRAIN
from stages.text.claims.overlaps import normalised
from stages.text.cleaning.rules import Cleaned, clean_examples, clean_pairs

NOTHING = pl.Series([], dtype=pl.String)
NO_COUNTS = {
    "unlabelled": 0,
    "empty": 0,
    "damaged": 0,
    "too_long": 0,
    "conflicts": 0,
    "duplicates": 0,
    "in_other_sets": 0,
    "overlaps": 0,
    "held_out_texts": 0,
}
LONG_ENOUGH = "the heron stood in the reeds all day"


def table(schema: Any, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a schema; what a row leaves out is null."""
    return pl.DataFrame([{name: row.get(name) for name in schema.names} for row in rows], schema=schema.columns)


def examples(*rows: tuple[str, int], dataset: str = "a") -> pl.DataFrame:
    """Examples of one set from (text without its quotes, label), each a cluster of its own."""
    rows_of_table = [
        {
            "example": f"{dataset}:{row}",
            "dataset": dataset,
            "text": f'"{text}"',
            "label": label,
            "cluster": f"{dataset}:{text}",
        }
        for row, (text, label) in enumerate(rows)
    ]
    return table(EXAMPLES_RAW, rows_of_table)


def pairs(*rows: tuple[str, str]) -> pl.DataFrame:
    rows_of_table = [
        {"pair": f"p:{row}", "set": "p", "input": text, "target": target} for row, (text, target) in enumerate(rows)
    ]
    return table(INSTRUCTIONS, rows_of_table)


def clean(raw: pl.DataFrame, questions: pl.Series = NOTHING, held_out: float = 1e-9, longest: int = 200) -> Cleaned:
    return clean_examples(raw, questions, held_out, longest)


def without(cleaned: Cleaned, dataset: str = "a") -> dict[str, int]:
    """The rules that removed something, and how many rows."""
    counts = cleaned.counts[dataset]
    left_out = {rule: counts[rule] for rule in NO_COUNTS if counts[rule]}
    assert counts["raw"] - sum(left_out.values()) == counts["kept"]
    return left_out


@pytest.mark.parametrize(
    ("rows", "kept", "left_out"),
    [
        ([("fine", 0), ("also fine", 1)], ["a:0", "a:1"], {}),
        ([("fine", -1), ("good", 0)], ["a:1"], {"unlabelled": 1}),
        # A row without a label contradicts no other row.
        ([("fine", -1), ("fine", 0)], ["a:1"], {"unlabelled": 1}),
        ([("", 0), ("fine", 0)], ["a:1"], {"empty": 1}),
        ([("5 - 5 !", 0), ("fine", 0)], ["a:1"], {"empty": 1}),
        ([('fine" and "', 0), ('fine" and "good', 0)], ["a:1"], {"empty": 1}),
        ([("1\ufffd000 berths", 0), ("fine", 0)], ["a:1"], {"damaged": 1}),
        ([("x" * 199, 0), ("x" * 198, 0)], ["a:1"], {"too_long": 1}),
        ([("fine", 0), ("fine", 1), ("good", 1)], ["a:2"], {"conflicts": 2}),
        ([("fine", 0), ("good", 1), ("fine", 0)], ["a:0", "a:1"], {"duplicates": 1}),
        # Equal after normalisation: case, spaces and compatibility forms.
        ([("Fine  day", 0), ("fine day", 0), ("ﬁne day", 0)], ["a:0"], {"duplicates": 2}),
        ([("Fine day", 0), ("fine day", 1)], [], {"conflicts": 2}),
        # A row that an earlier rule leaves out contradicts no other row.
        ([("fine \ufffd", 0), ("fine", 1)], ["a:1"], {"damaged": 1}),
    ],
)
def test_a_rule(rows: list[tuple[str, int]], kept: list[str], left_out: dict[str, int]) -> None:
    cleaned = clean(examples(*rows))
    assert cleaned.table["example"].to_list() == kept
    assert without(cleaned) == left_out


def test_counts_are_complete() -> None:
    cleaned = clean(pl.concat([examples(("fine", 0)), examples(("", 0), ("good", 1), ("good", 1), dataset="b")]))
    assert cleaned.counts == {
        "a": {"raw": 1, **NO_COUNTS, "kept": 1, "held_out": 0},
        "b": {"raw": 3, **NO_COUNTS, "empty": 1, "duplicates": 1, "kept": 1, "held_out": 0},
    }


def test_a_text_in_two_sets_stays_in_the_first_whatever_its_labels() -> None:
    first, second = examples(("fine", 0), ("good", 0)), examples(("Good", 1), ("well", 0), dataset="b")
    cleaned = clean(pl.concat([first, second]))
    assert cleaned.table["example"].to_list() == ["a:0", "a:1", "b:1"]
    assert without(cleaned, "b") == {"in_other_sets": 1}
    assert clean(pl.concat([second, first])).table["example"].to_list() == ["b:0", "b:1", "a:0"]


@pytest.mark.parametrize(
    ("question", "overlaps"),
    [
        (f"Somebody asked: {LONG_ENOUGH}?", True),
        ("Somebody asked: The  HERON stood\nin the reeds all day?", True),
        ("Somebody asked: the heron stood.", False),
        ("", False),
    ],
)
def test_an_example_that_stands_in_a_question_is_left_out(question: str, overlaps: bool) -> None:
    cleaned = clean(examples((LONG_ENOUGH, 0), ("fine", 0)), pl.Series([question]))
    assert cleaned.table["example"].to_list() == (["a:1"] if overlaps else ["a:0", "a:1"])
    assert without(cleaned) == ({"overlaps": 1} if overlaps else {})


def test_every_example_in_a_question_is_found_also_inside_another() -> None:
    inner = "stood in the reeds all day"
    cleaned = clean(examples((LONG_ENOUGH, 0), (inner, 0), ("reeds all day and night", 0)), pl.Series([LONG_ENOUGH]))
    assert cleaned.table["example"].to_list() == ["a:2"]


def test_a_short_text_in_a_question_is_chance() -> None:
    nineteen, twenty = "n" * 19, "t" * 20
    cleaned = clean(examples((nineteen, 0), (twenty, 0)), pl.Series([f"{nineteen} {twenty}"]))
    assert cleaned.table["example"].to_list() == ["a:0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"The  Heron"', "the heron"),
        ("a\n\tb\u00a0c", "a b c"),
        ("ＡＢＣ ﬁ", "abc fi"),
        ('"a" and "b"', 'a" and "b'),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert pl.select(normalised(pl.lit(text))).item() == expected


def in_clusters(clusters: int, rows: int) -> pl.DataFrame:
    """Rows that are dealt out to the clusters in turn."""
    rows_of_table = [
        {
            "example": f"a:{row}",
            "dataset": "a",
            "text": f'"text {row}"',
            "label": 0,
            "cluster": f"a:{row % clusters}",
        }
        for row in range(rows)
    ]
    return table(EXAMPLES_RAW, rows_of_table)


def test_the_split_puts_no_cluster_on_both_sides() -> None:
    cleaned = clean(in_clusters(500, 2_000), held_out=0.2)
    sides = cleaned.table.group_by("cluster").agg(pl.col("part").n_unique())
    assert set(sides["part"]) == {1}
    held_out = cleaned.table.filter(pl.col("part") == HELD_OUT)
    # 500 clusters, of which a share of 0.2 within four standard errors.
    assert abs(held_out["cluster"].n_unique() / 500 - 0.2) < 4 * (0.2 * 0.8 / 500) ** 0.5
    assert cleaned.counts["a"]["held_out"] == held_out.height
    assert set(cleaned.table["part"]) == {TRAIN, HELD_OUT}


def test_a_held_out_text_does_not_stand_in_a_training_example() -> None:
    """Quoted by two sets, in clusters of their own, with another space before the full stop."""
    alone = examples((f"{LONG_ENOUGH}.", 0))
    in_pairs = examples(*((f'A page {page}." and "{LONG_ENOUGH} .', 0) for page in range(20)), dataset="b")
    cleaned = clean(pl.concat([alone, in_pairs]), held_out=0.5)
    sides = {part for part, text in cleaned.table.select("part", "text").iter_rows() if LONG_ENOUGH in text}
    assert len(sides) == 1
    assert sum(counts["held_out_texts"] for counts in cleaned.counts.values()) > 0


def test_the_split_depends_on_the_cluster_alone() -> None:
    rows = in_clusters(50, 400)
    parts = dict(clean(rows, held_out=0.3).table.select("example", "part").iter_rows())
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=4)
    assert dict(clean(shuffled, held_out=0.3).table.select("example", "part").iter_rows()) == parts
    fewer = dict(clean(rows.gather_every(3), held_out=0.3).table.select("example", "part").iter_rows())
    assert fewer == {example: parts[example] for example in fewer}


def test_a_larger_share_holds_out_more_and_never_less() -> None:
    rows = in_clusters(100, 100)
    held_out = [
        set(clean(rows, held_out=share).table.filter(pl.col("part") == HELD_OUT)["example"])
        for share in (0.1, 0.3, 0.9)
    ]
    assert held_out[0] < held_out[1] < held_out[2]


def test_what_passes_is_a_table_of_examples_in_its_order() -> None:
    rows = in_clusters(5, 20)
    passed = clean(rows, held_out=0.3).table
    assert passed.schema == pl.Schema(EXAMPLES.columns)
    assert passed.drop("part").equals(rows)
    assert clean(rows, longest=1).table.schema == pl.Schema(EXAMPLES.columns)


@pytest.mark.parametrize(
    ("rows", "kept", "left_out"),
    [
        ([("ask", "answer"), ("ask more", "answer")], ["p:0", "p:1"], {}),
        ([("ask", " "), ("\n", "answer"), ("ask", "answer")], ["p:2"], {"empty": 2}),
        ([("Ask  it", "answer"), ("ask it", "another")], ["p:0"], {"duplicates": 1}),
    ],
)
def test_a_rule_for_pairs(rows: list[tuple[str, str]], kept: list[str], left_out: dict[str, int]) -> None:
    cleaned = clean_pairs(pairs(*rows), NOTHING, NOTHING)
    assert cleaned.table["pair"].to_list() == kept
    assert (
        cleaned.counts["p"]
        == {"raw": len(rows), "empty": 0, "duplicates": 0, "overlaps": 0, "kept": len(kept)} | left_out
    )
    assert cleaned.table.schema == pl.Schema(INSTRUCTIONS.columns)


def test_pairs_that_hold_a_held_out_text_or_a_question_are_left_out() -> None:
    rows = pairs(
        (f"Is it so? The HERON  stood in the reeds all day.\n{'x' * 9}", "yes"),
        ("Which of the two is the larger number?", "the second"),
        ("Say it in other words.", "It is said."),
        ("Thank you.", "Not at all."),
    )
    held_out = pl.Series([f'"{LONG_ENOUGH}"', '"Thank you."'])
    cleaned = clean_pairs(rows, pl.Series(["which of the two is the larger number?"]), held_out)
    assert cleaned.table["pair"].to_list() == ["p:2", "p:3"]
    assert cleaned.counts["p"]["overlaps"] == 2
