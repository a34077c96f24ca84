"""Data sets of the hub with every fault that a file can have: one line names the set and the remedy."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.core.errors import UserError
from stages.datasets.kinds import HubPairs, HubSet
from stages.datasets.registry import instructions
from stages.datasets.rows import examples, pairs
from stages.fetch.fetch import fetch
from stages.sources.locations import split_of
from tests.helpers.refusals import refusal_of

TOYS = HubSet(
    "toys", "acme/toys", "wood", {"old": "an Old Toy", "new": "a New Toy"}, ("name", "use"), 9, "MIT", label="age"
)
TIPS = HubPairs("tips", split_of("tips", "acme/tips", "", "train"), ("ask", "about"), "reply", "MIT")
ROWS = {"name": ["a kite", 'a "red"\n ball \x1c'], "use": ["to fly", None], "age": [1, -1], "id": [7, 8]}


def parquet(folder: Path, table: pl.DataFrame, features: dict[str, Any] | None = None, name: str = "0") -> Path:
    path = folder / f"train-{name}.parquet"
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    table.write_parquet(path, metadata=metadata)
    return path


def refusal(*paths: Path) -> str:
    return refusal_of(lambda: examples(TOYS, paths, "abc"), "toys: ")


def test_rows_of_several_files_become_examples(tmp_path: Path) -> None:
    first = parquet(tmp_path, pl.DataFrame(ROWS), {"age": {"names": ["old", "new"], "_type": "ClassLabel"}})
    second = parquet(tmp_path, pl.DataFrame({**ROWS, "age": [0, None]}).cast({"age": pl.Int32}), name="1")
    table = examples(TOYS, [first, second], "abc")
    assert table.select("example", "text", "label", "cluster", "row").rows() == [
        ("toys:0", '"a kite" and "to fly"', 1, "toys:a kite", 0),
        ("toys:1", '"a red ball" and ""', -1, 'toys:a "red"\n ball \x1c', 1),
        ("toys:2", '"a kite" and "to fly"', 0, "toys:a kite", 2),
        ("toys:3", '"a red ball" and ""', -1, 'toys:a "red"\n ball \x1c', 3),
    ]
    assert table.select("label_words", "source", "revision", "split", "licence").row(0) == (
        ["an Old Toy", "a New Toy"],
        "acme/toys/wood",
        "abc",
        "train",
        "MIT",
    )


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = parquet(tmp_path, pl.DataFrame(ROWS).drop("use"))
    assert f"{path} has no column use; it has name, age, id; get the file again" in refusal(path)


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path, pl.DataFrame(ROWS).cast({"age": pl.String}))
    assert f"{path}: the column age has type String, expected Int64; get the file again" in refusal(path)


@pytest.mark.parametrize("label", [2, -2])
def test_a_label_outside_the_names_is_named_with_its_row(tmp_path: Path, label: int) -> None:
    path = parquet(tmp_path, pl.DataFrame({**ROWS, "age": [1, label]}))
    assert refusal(path) == (
        f"toys: row 1 has the age {label}; the set's labels are 0 to 1 (old, new), and -1 for none; this is another "
        "set's file"
    )


def test_labels_in_another_order_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, pl.DataFrame(ROWS), {"age": {"names": ["new", "old"], "_type": "ClassLabel"}})
    assert refusal(path) == f"toys: {path}: the labels of age are new, old; expected old, new, in this order"


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    assert "the split has no rows" in refusal(parquet(tmp_path, pl.DataFrame(ROWS).clear()))


@pytest.mark.parametrize("kept", [0, 3, 200, -4])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = parquet(tmp_path, pl.DataFrame(ROWS))
    path.write_bytes(path.read_bytes()[:kept])
    assert f"{path} is damaged or cut short (" in refusal(path)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-0.parquet"
    table = pl.DataFrame({**ROWS, "name": ["zzzzzzzz", "b"]})
    table.write_parquet(path, compression="uncompressed", statistics=False)
    content = path.read_bytes()
    assert content.count(b"zzzzzzzz") == 1
    # The same length, so that only the text is damaged.
    path.write_bytes(content.replace(b"zzzzzzzz", b"zzz\xff\xfezzz"))
    assert f"{path} is damaged or cut short (" in refusal(path)


def test_lines_that_are_not_utf_8_or_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"ask": "\xff"}\n')
    with pytest.raises(
        UserError, match=r"^tips: .*train\.jsonl is not UTF-8 \(invalid start byte at byte 9\); get the"
    ):
        pairs(TIPS, [path], "abc")
    path.write_text('{"ask": "Why?", "about": "", "reply": "So."}\n{"ask": "Wh', encoding="utf-8")
    with pytest.raises(UserError, match=r"^tips: .*train\.jsonl is damaged or cut short \("):
        pairs(TIPS, [path], "abc")


def test_pairs_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    lines = [
        {"ask": " Why? ", "about": "A gate.", "reply": " So. "},
        {"ask": "How?", "about": "", "reply": "\u2028Well\u2028"},
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n", encoding="utf-8")
    table = pairs(TIPS, [path], "abc")
    assert table.select("pair", "input", "target", "source", "row").rows() == [
        ("tips:0", "Why?\n\nA gate.", "So.", "acme/tips", 0),
        ("tips:1", "How?", "Well", "acme/tips", 1),
    ]


def test_options_follow_the_input(tmp_path: Path) -> None:
    entry = HubPairs("tips", TIPS.files, ("ask",), "reply", "MIT", options="of")
    rows = {"ask": ["Red?", "Why?"], "reply": ["yes", "so"], "of": [["yes", "no"], []]}
    table = pairs(entry, [parquet(tmp_path, pl.DataFrame(rows, schema_overrides={"of": pl.List(pl.String)}))], "abc")
    assert table["input"].to_list() == ["Red?\n\nOptions:\n- yes\n- no", "Why?"]


@pytest.mark.parametrize(("name", "rows"), [("alpaca", 9_229), ("dolly", 2_996), ("metaicl_pools", 17_407)])
def test_instruction_sets_of_the_mirror(name: str, rows: int, hub: Path) -> None:
    entry = instructions(name)
    fetched = fetch(entry.files, str(hub))
    table = pairs(entry, fetched.paths, fetched.revision)
    manifest = (hub / "MANIFEST.md").read_text(encoding="utf-8")
    assert table.height == rows
    assert f"{rows:,}" in manifest
    assert table.filter(pl.col("input") == "").is_empty()
