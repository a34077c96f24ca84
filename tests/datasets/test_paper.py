"""The paper's seventeen sets: the registry agrees with the paper's table, and a mirror's rows with its manifest."""

import re
from pathlib import Path

import polars as pl
import pytest

from stages.datasets.kinds import HubSet
from stages.datasets.paper import PAPER_SETS, PUBLISHED_PAIRS
from stages.datasets.rows import examples
from stages.fetch.fetch import fetch

# Wei et al. (2023), table of the sets: the fields in order, the label words in index order, and the rows of train.
PAPER = """
sst2 | sentence | Negative Sentiment, Positive Sentiment | 67349
rotten_tomatoes | text | Negative Sentiment, Positive Sentiment | 8530
tweet_sentiment | text | Negative Sentiment, Neutral Sentiment, Positive Sentiment | 45615
tweet_offensive | text | Not Offensive, Offensive | 11916
tweet_irony | text | Not Irony, Irony | 2862
qqp | question1, question2 | Not Duplicate, Duplicate | 363846
mrpc | sentence1, sentence2 | Not Equivalent, Equivalent | 3668
paws | sentence1, sentence2 | Different Meaning, Paraphrase | 49401
rte | premise, hypothesis | Entailment, Not Entailment | 2490
wnli | sentence1, sentence2 | Not Entailment, Entailment | 635
qnli | sentence, question | Entailment, Not Entailment | 104743
mnli | premise, hypothesis | Entailment, Neither Entailment Nor Contradiction, Contradiction | 392702
snli | premise, hypothesis | Entailment, Neither Entailment Nor Contradiction, Contradiction | 550152
cb | premise, hypothesis | Entailment, Contradiction, Neither Entailment Nor Contradiction | 250
trec | text | Abbreviation, Entity, Description or Abstract Concept, Human Being, Location, Numeric Value | 5452
ag_news | text | World, Sports, Business, Science and Technology | 120000
cola | sentence | Unacceptable Sentence, Acceptable Sentence | 8551
"""


def test_the_registry_is_the_papers_table() -> None:
    lines = [
        f"{entry.name} | {', '.join(entry.texts)} | {', '.join(entry.labels.values())} | {entry.published}"
        for entry in PAPER_SETS
    ]
    assert lines == PAPER.strip().splitlines()
    assert {entry.split for entry in PAPER_SETS} == {"train"}
    assert {entry.label for entry in PAPER_SETS if entry.name != "trec"} == {"label"}
    assert sum(entry.published for entry in PAPER_SETS) == 1_738_162 > PUBLISHED_PAIRS


def read_set(entry: HubSet, hub: Path) -> pl.DataFrame:
    fetched = fetch(entry.files, str(hub))
    return examples(entry, fetched.paths, fetched.revision)


def manifest(hub: Path) -> dict[str, tuple[int, list[int]]]:
    """Rows of train and their number by label, of each set in the mirror's own table."""
    page = (hub / "MANIFEST.md").read_text(encoding="utf-8")
    found = {}
    for line in page[page.index("## D.") : page.index("## E.")].splitlines():
        match = re.match(r"\| (\S+?)(?:, (?!plain_text)(\w+))?(?:, plain_text)? \| .*?train ([\d,]+)(.*)", line)
        if match:
            by_label = re.search(r"\(\D*?(\d+(?:/\d+)+|\d+ each)\)", match[4])
            assert by_label
            each = by_label[1].removesuffix(" each")
            counts = [int(count) for count in each.split("/")] * (4 if each != by_label[1] else 1)  # ag_news has 4
            found[f"{match[1]}/{match[2] or ''}".rstrip("/")] = (int(match[3].replace(",", "")), counts)
    return found


@pytest.mark.parametrize("entry", PAPER_SETS, ids=lambda entry: entry.name)
def test_a_mirrors_rows_are_those_of_its_manifest(entry: HubSet, hub: Path) -> None:
    rows, counts = manifest(hub)[entry.source]
    table = read_set(entry, hub)
    assert table.height == rows <= entry.published
    found = dict(table["label"].value_counts().iter_rows())
    assert [found[label] for label in sorted(found)] == counts
    assert table["row"].to_list() == list(range(rows))


def test_the_manifest_was_read_completely(hub: Path) -> None:
    assert manifest(hub).keys() == {entry.source for entry in PAPER_SETS}


@pytest.mark.parametrize("name", ["sst2", "qnli", "trec"])
def test_texts_are_those_of_the_reference_generator(name: str, hub: Path) -> None:
    """Quotes and line ends deleted, stripped, in quotes, joined with `and`: by hand, from the files themselves."""
    entry = next(entry for entry in PAPER_SETS if entry.name == name)
    (path,) = fetch(entry.files, str(hub)).paths
    source = pl.read_parquet(path).head(2_000)
    cleaned = [
        " and ".join('"' + text.replace('"', "").replace("\n", "").strip() + '"' for text in texts)
        for texts in source.select(entry.texts).iter_rows()
    ]
    assert read_set(entry, hub)["text"].to_list()[:2_000] == cleaned
