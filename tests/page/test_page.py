"""The page as HTML: safe, whole, and in the order that a reader needs."""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser

import polars as pl
import pytest

from stages.page.inputs import Change, Counts, FilterReport, Kept, Shortcut, Source, Total, Validation
from stages.page.page import PACKAGES, ModelInputs, model_part, page, versions
from stages.text.tables import ANSWERS

MARKUP = "</section><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
COUNTS = Counts({"zoo": {"raw": 1200, "held_out": 3}, "sky": {"raw": 7}}, {"letters": {"raw": 5, "kept": 4}})
SOURCE = Source(1200, None, 1, 2, 3, 4, 5, 6, 40, 1999, {"Old": 800, "New": 399}, {"quiz": 2, "sums": 1}, "MIT")
VALIDATION = Validation({"zoo": SOURCE}, Total(1200, 1_738_162, 1198, 1197, 1_736_834))
SHORTCUTS = {"polarity_and_label": Shortcut(1.0, 0.49), "order": Shortcut(0.5, None)}
KINDS = {"x": Kept(10, 5, 0.5)}


class Reader(HTMLParser):
    """Collects what a browser would see: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> Iterator[str]:
        return (value for _, attrs in self.tags for key, value in attrs.items() if key == attribute and value)


def model(name: str, word: str = "zoo", verdict: str = "too little knowledge") -> ModelInputs:
    question = {"suite": word, "question": word, "condition": word, "cluster": word, "choices": ["a", "b"], "chosen": 0}
    tables = [
        pl.DataFrame(
            [dict.fromkeys(ANSWERS.columns) | question | {"correct": 0, "logprobs": logprobs}], schema=ANSWERS.columns
        )
        for logprobs in ([-1.0, -3.0], [-2.5, -1.0])
    ]
    return ModelInputs(
        name=name,
        changes={"claims_wrong_opinion_followed": Change(0.67, 0.21, -0.46, -0.52, -0.4, 192)},
        kept=FilterReport(10, 5, 0.5, 0.0, -0.1, 0.1, verdict, word, {word: Kept(10, 5, 0.5)}, KINDS, KINDS, KINDS),
        training=pl.DataFrame({"step": [1, 2], "loss": [2.0, 1.0]}),
        base=tables[0],
        tuned=tables[1],
    )


def html(*models: ModelInputs, counts: Counts = COUNTS) -> str:
    parts = [model_part(inputs, f"m{number}") for number, inputs in enumerate(models)]
    return page(parts, counts, VALIDATION, SHORTCUTS, {"Python": "3.11"})


@pytest.fixture(scope="module")
def two() -> str:
    return html(model("first"), model("second", verdict="enough knowledge"))


def test_markup_in_data_and_names_stays_text() -> None:
    counts = Counts({MARKUP: {MARKUP: 1}}, {MARKUP: {MARKUP: 2}})
    seen = Reader(html(model(MARKUP, word=MARKUP), counts=counts))
    assert {"script", "img"}.isdisjoint(tag for tag, _ in seen.tags)
    assert not any(key.startswith("on") for _, attrs in seen.tags for key in attrs)
    # In short, section, table of answers, both count tables, figures: it is there to be read.
    assert seen.text.count("<script>alert(1)</script>") > 8


def test_the_policy_allows_its_own_style_sheet_and_nothing_else(two: str) -> None:
    policy = next(attrs["content"] for tag, attrs in Reader(two).tags if "http-equiv" in attrs)
    style = re.findall(r"<style>(.*?)</style>", two, flags=re.DOTALL)
    digest = b64encode(sha256(style[0].encode()).digest()).decode()
    assert len(style) == 1
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_nothing_comes_from_elsewhere(two: str) -> None:
    seen = Reader(two)
    assert {"script", "link", "iframe", "img", "object", "base"}.isdisjoint(tag for tag, _ in seen.tags)
    assert list(seen.values("src")) == list(seen.values("style")) == []
    assert "url(http" not in two
    assert "@import" not in two
    assert len(two.encode()) < 3_000_000


def test_ids_are_unique_and_every_link_has_its_place(two: str) -> None:
    seen = Reader(two)
    ids = list(seen.values("id"))
    assert len(ids) == len(set(ids))
    links = list(seen.values("href"))
    assert links == ["#short", "#model-1", "#model-2", "#data", "#versions"]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_every_figure_has_a_text_alternative(two: str) -> None:
    drawings = [attrs for tag, attrs in Reader(two).tags if tag == "svg"]
    assert len(drawings) == 8
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)


def test_what_happened_comes_first_then_warnings_then_the_table(two: str) -> None:
    text = Reader(two).text
    places = [
        text.index(words)
        for words in ("follows a wrong opinion in 21% of claims, was 67%", "Filter: too little", "Headline measures")
    ]
    assert places == sorted(places)
    # Only the first model's filter has something to warn of.
    assert text.count("Filter: ") == 1


def test_the_headline_table_gives_points_and_a_verdict(two: str) -> None:
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", two)
    assert cells[:7] == ["better", "67.0%", "21.0%", "−46.0", "[−52.0, −40.0]", "192", "lower"]


def test_changed_answers_are_listed_with_their_log_odds(two: str) -> None:
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", two)
    assert cells[7:12] == ["zoo", "zoo", "+2.00", "−1.50", "−3.50"]


def test_counts_and_shares_that_are_not_there_are_dashes(two: str) -> None:
    data = two[two.index('id="data"') :]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", data) == [
        *("1,200", "3", "7", "–"),
        *("1,200", "–", "1", "2", "3", "4", "5", "6", "40", "1,999", "67%", "3", "MIT"),  # the source
        *("5", "4"),
        *("100.0%", "49.0%", "50.0%", "–"),  # the shortcuts
    ]


def test_a_model_without_headline_measures_still_has_a_page() -> None:
    inputs = model("quiet")
    unasked = ModelInputs(inputs.name, {}, inputs.kept, inputs.training, inputs.base, inputs.tuned)
    assert "nothing can be said" in html(unasked)


def test_versions_name_python_and_every_package() -> None:
    assert list(versions()) == ["Python", *PACKAGES]
    assert versions()["polars"] == pl.__version__


def test_all_sets_together_are_set_against_the_papers_count() -> None:
    text = " ".join(Reader(html(model("a"))).text.split())
    assert "1,198 different texts when each set is counted by itself, 1,197 over all sets" in text
    assert "the paper counts 1,736,834 pairs in its seventeen" in text
