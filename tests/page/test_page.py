"""The page as HTML: escaped, self-contained, complete, and in the right order."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest

from stages.page.charts.interactive import bundle, policy_hash
from stages.page.data.report_files import CleanReport
from stages.page.page import PACKAGES, versions
from tests.helpers.page_samples import MARKUP, html, model, swept, unpacked
from tests.helpers.paper_page import paper_models


class Reader(HTMLParser):
    """Collects a page's tags with their attributes, its scripts and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data

    def values(self, attribute: str) -> Iterator[str]:
        return (value for _, attrs in self.tags for key, value in attrs.items() if key == attribute and value)


@pytest.fixture(scope="module")
def two() -> str:
    sweeps = {"mix_ratio": swept("0", "1.0"), "mix.rows": swept("8", "16", models=("a", "b"))}
    return html(model("first"), model("second", verdict="enough knowledge"), sweeps=sweeps)


def test_markup_in_data_and_names_stays_text() -> None:
    counts = CleanReport({MARKUP: {MARKUP: 1}}, {MARKUP: {MARKUP: 2}})
    sweeps = {MARKUP: swept(MARKUP, models=(MARKUP, "b"))}
    reader = Reader(html(model(MARKUP, word=MARKUP), counts=counts, sweeps=sweeps))
    assert "img" not in [tag for tag, _ in reader.tags]
    assert not any(key.startswith("on") for _, attrs in reader.tags for key in attrs)
    # Only the page's own script runs; specifications are data, and so is Vega's script until the page's script runs it.
    assert [attrs.get("type") for tag, attrs in reader.tags if tag == "script"][-2:] == ["text/plain", None]
    *specifications, vega, own = reader.scripts
    assert len(specifications) == 11 + 2 and "alert" not in own and unpacked(vega) == bundle()
    assert any(MARKUP in unpacked(text).replace('\\"', '"') for text in specifications)
    # Sections, prompts, answers, filters, count tables and figures show the markup as text.
    assert reader.text.count("<script>alert(1)</script>") > 20


def test_the_policy_allows_its_own_style_sheet_and_scripts_and_nothing_else(two: str) -> None:
    policy = next(attrs["content"] for tag, attrs in Reader(two).tags if "http-equiv" in attrs)
    (style,) = re.findall(r"<style>(.*?)</style>", two, flags=re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", two, flags=re.DOTALL)
    styles, vega, own = (policy_hash(text) for text in (style, bundle(), script))
    assert policy == (
        f"default-src 'none'; style-src {styles}; script-src {vega} {own}; base-uri 'none'; form-action 'none'"
    )


def test_the_page_is_self_contained(two: str) -> None:
    reader = Reader(two)
    assert {"link", "iframe", "img", "object", "base"}.isdisjoint(tag for tag, _ in reader.tags)
    assert list(reader.values("src")) == list(reader.values("style")) == []
    assert "url(http" not in two
    assert "@import" not in two


@pytest.mark.browser
def test_ten_models_as_the_papers_stay_under_3_mb(monkeypatch: pytest.MonkeyPatch) -> None:
    # Writing the SVG files is slow, and the page does not contain them.
    monkeypatch.setattr("stages.page.sections.render", lambda chart, text: '<svg width="400" height="300"/>')
    models = paper_models()
    assert len(models) == 10
    page = html(*models)
    assert len(page.encode()) < 3_000_000
    # Nothing is left out to save space: each model has all figures and more than thirty answers.
    assert page.count("<figure>") == 10 * 11 + 1
    assert page.count('<details class="answer"') > 10 * 30


def test_ids_are_unique_and_every_link_has_its_target(two: str) -> None:
    reader = Reader(two)
    ids = list(reader.values("id"))
    assert len(ids) == len(set(ids))
    links = list(reader.values("href"))
    assert links == ["#model-1", "#model-2", "#sweeps", "#data", "#made"]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_every_figure_has_a_text_alternative(two: str) -> None:
    texts = re.findall(r'<div class="drawing"[^>]*><p class="reading">(.*?)</p><script', two)
    # A model has: headline, kept, loss, steps, aside, followed, additions, accuracy, quadrants, shifts, subjects.
    assert len(texts) == two.count("<figure>") == 2 * 11 + 1 + 3
    assert all(texts) and "Headline measures, base and tuned. Claims, wrong opinion: followed: 67.0%, 21.0%." in texts


def test_the_summary_comes_first_then_warnings_then_the_table(two: str) -> None:
    text = Reader(two[two.index('id="model-1"') :]).text
    positions = [
        text.index(words)
        for words in (
            "follows a wrong opinion in 21% of claims, was 67%",
            "Filter: too little",
            "Claims, wrong opinion",
        )
    ]
    assert positions == sorted(positions)
    # Only the first model has a warning about its filter.
    assert text.count("Filter: ") == 1


def test_the_headline_table_gives_points_and_a_verdict(two: str) -> None:
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", two)
    assert cells[:7] == ["better", "67.0%", "21.0%", "−46.0", "[−52.0, −40.0]", "192", "lower"]


def test_the_breakdown_of_the_headline_is_there_by_condition(two: str) -> None:
    breakdown = two[two.index('class="breakdown"') :]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", breakdown[: breakdown.index("</details>")])
    assert cells == ["zoo", "zoo", "accuracy", "50.0%", "75.0%", "+25.0", "[−10.0, +40.0]", "1,200"]


def test_a_measure_without_a_label_is_in_the_table_too() -> None:
    inputs = model("a")
    change = inputs.changes["claims_wrong_opinion_followed"]
    assert "Quiz five shot calibration" in html(replace(inputs, changes={"quiz_five_shot_calibration": change}))


def test_changed_answers_have_both_models_probabilities_and_the_filter_s_attributes(two: str) -> None:
    inside = two[two.index('class="answer"') :]
    first = inside[: inside.index("</details>")]
    assert 'data-suite="addition" data-set="addition" data-kind="false wrong opinion" open>' in first
    assert [text.strip() for text in re.findall(r"</meter>([^<]*)<", first)] == ["88.1%", "18.2%", "11.9%", "81.8%"]
    assert "<pre>zoo\nzoo …</pre>" in first and "now wrong" in first and "−3.5" in first
    assert two.count('<details class="answer"') == 2 * 8


def test_a_single_model_needs_no_overview() -> None:
    page = html(model("only"))
    assert 'id="models"' not in page and 'id="model-1"' in page


def test_sweeps_have_figures_and_the_paper_s_result(two: str) -> None:
    section = two[two.index('id="sweeps"') : two.index('id="data"')]
    assert re.findall(r"<h4>(.*?)</h4>", section) == ["mix_ratio, a", "mix.rows, a", "mix.rows, b"]
    assert section.count("Figures 11 and 12") == 1 and section.count("The paper has no counterpart.") == 2
    assert "Sweeps" not in html(model("only"))


def test_parameters_are_named_with_their_sections(two: str) -> None:
    section = two[two.index('id="made"') :]
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", section)
    assert pairs == [
        ("Python", "3.11"),
        ("seed", "0"),
        ("models", "a, b"),
        ("own_models", "–"),
        ("hub", "–"),
        ("finetune.lora.rank", "16"),
    ]


def test_missing_counts_and_shares_are_dashes(two: str) -> None:
    data = two[two.index('id="data"') : two.index('id="made"')]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", data) == [
        *("1,200", "3", "7", "–"),
        *("1,200", "–", "1", "2", "3", "4", "5", "6", "40", "1,999", "67%", "3", "MIT"),  # the source
        *("5", "4"),
        *("100.0%", "49.0%", "50.0%", "–"),  # the shortcuts
    ]


def test_a_model_without_headline_measures_still_has_a_page() -> None:
    assert "nothing can be said" in html(replace(model("quiet"), changes={}))


def test_versions_name_python_and_every_package() -> None:
    assert list(versions()) == ["Python", *PACKAGES]
    assert versions()["polars"] == pl.__version__


def test_the_totals_are_compared_with_the_paper_s_count() -> None:
    text = " ".join(Reader(html(model("a"))).text.split())
    assert "1,198 different texts when each set is counted by itself, 1,197 over all sets" in text
    assert "the paper counts 1,736,834 pairs in its seventeen" in text
