"""The source report: every count on a few rows by hand, and that of the mirror compared with its own page."""

import re
from pathlib import Path
from typing import Any

import polars as pl

from stages.datasets.paper import PAPER_SETS, PUBLISHED_PAIRS
from stages.datasets.rows import examples
from stages.fetch.fetch import fetch
from stages.tables.schemas import EXAMPLES_RAW, INSTRUCTIONS
from stages.text.cleaning.source_report import overlaps_by_suite, validation

QUESTIONS = {"quiz": pl.Series(["Which is taller: the OLD pine by the gate, or the fir?"]), "other": pl.Series(["No."])}


def raw(dataset: str, words: list[str], *rows: tuple[str, int]) -> pl.DataFrame:
    rows_of_set: list[dict[str, Any]] = [
        dict.fromkeys(EXAMPLES_RAW.names)
        | {"dataset": dataset, "text": f'"{text}"', "label": label, "label_words": words}
        | {"source": f"acme/{dataset}", "revision": "1", "split": "train", "row": row, "licence": "MIT"}
        for row, (text, label) in enumerate(rows)
    ]
    return pl.DataFrame(rows_of_set, schema=EXAMPLES_RAW.columns)


def test_every_count_by_hand() -> None:
    toys = raw("toys", ["Old", "New"], ("a", 0), ("a", 0), ("a", 1), ("b", -1), ("the old pine by the gate", 0))
    dolls = raw("dolls", ["New", "Old"], ("a", 1), ("fill in [label]", 0), ("c", 0))
    pair = dict.fromkeys(INSTRUCTIONS.names) | {"set": "tips", "input": "the old pine by the gate, or the fir?"}
    pairs = pl.DataFrame([pair, pair, pair | {"input": "no"}], schema=INSTRUCTIONS.columns)
    rows = pl.concat([toys, dolls])
    overlaps = overlaps_by_suite(rows, pairs, QUESTIONS)
    report = validation(rows, pairs, overlaps, {"toys": 9, "dolls": None, "": 7})
    about = {"revision": "1", "split": "train", "licence": "MIT"}
    assert report["datasets"]["toys"] == {
        "source": "acme/toys",
        **about,
        "rows": 5,
        "median_characters": 3,
        "longest": 26,
        "published_rows": 9,
        "duplicates": 2,
        "unlabelled": 1,
        "contradicting_in_set": 3,
        "in_other_sets": 3,
        "contradicting_in_any": 3,
        "placeholders": 0,
        "labels": {"Old": 3, "New": 1},
        "overlaps": {"quiz": 1},
    }
    assert report["datasets"]["dolls"] == {
        "source": "acme/dolls",
        **about,
        "rows": 3,
        "median_characters": 3,
        "longest": 17,
        "published_rows": None,
        "duplicates": 0,
        "unlabelled": 0,
        "contradicting_in_set": 0,
        "in_other_sets": 1,
        "contradicting_in_any": 1,
        "placeholders": 1,
        "labels": {"New": 2, "Old": 1},
        "overlaps": {},
    }
    tips = report["instructions"]["tips"]
    assert (tips["rows"], tips["duplicates"], tips["overlaps"]) == (3, 1, {})  # it contains no complete question
    assert report["total"] == {"rows": 8, "published_rows": 9, "distinct_in_sets": 6, "distinct": 5, "paper": 7}


def test_a_pair_that_holds_a_whole_question_overlaps() -> None:
    pair = dict.fromkeys(INSTRUCTIONS.names) | {"set": "tips", "input": f"Q: {QUESTIONS['quiz'][0]} A:"}
    rows, pairs = pl.DataFrame(schema=EXAMPLES_RAW.columns), pl.DataFrame([pair], schema=INSTRUCTIONS.columns)
    assert overlaps_by_suite(rows, pairs, QUESTIONS) == {"tips": {"quiz": 1}}
    assert validation(rows, pairs, {}, {"": 1})["total"]["rows"] == 0


def test_the_mirror_agrees_with_its_manifest(hub: Path) -> None:
    tables = []
    for entry in PAPER_SETS:
        fetched = fetch(entry.files, str(hub))
        tables.append(examples(entry, fetched.paths, fetched.revision))
    published = {**{entry.name: entry.published for entry in PAPER_SETS}, "": PUBLISHED_PAIRS}
    report = validation(pl.concat(tables), pl.DataFrame(schema=INSTRUCTIONS.columns), {}, published)
    total = report["total"]
    assert (total["published_rows"], total["paper"]) == (1_738_162, 1_736_834)
    assert total["rows"] == sum(table.height for table in tables)
    assert total["distinct"] < total["distinct_in_sets"] < total["rows"]

    page = (hub / "MANIFEST.md").read_text(encoding="utf-8")
    # Duplicate rows by their raw text and label; here texts are as a claim quotes them, whatever the label.
    manifest = dict(re.findall(r"(sst2|trec|offensive) (\d+)", page[page.index("Duplicate rows in whole sets") :]))
    sets = report["datasets"]
    contradicting = {name: sets[name]["contradicting_in_set"] for name in sets}
    assert sets["trec"]["duplicates"] == int(manifest["trec"])
    assert 0 <= sets["sst2"]["duplicates"] - int(manifest["sst2"]) <= contradicting["sst2"]
    assert 0 <= sets["tweet_offensive"]["duplicates"] - int(manifest["offensive"]) <= contradicting["tweet_offensive"]
    assert {name for name in sets if sets[name]["unlabelled"]} == set()  # "NO label -1 rows in any split"
    short = {name for name in sets if sets[name]["rows"] < sets[name]["published_rows"]}
    assert short == {"tweet_sentiment", "qqp", "paws", "qnli", "mnli", "snli", "ag_news"}
