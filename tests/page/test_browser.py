"""The page in a real browser, opened from disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.browser import CHROMIUM, Tab, browser_tab
from tests.helpers.page_samples import MARKUP, html, model, swept

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here; `apt-get install chromium`"),
]

# Pixels: a phone, a laptop, and A4 within its margins.
WIDTHS = {"phone": (390, 844, ""), "laptop": (1280, 900, ""), "print": (720, 1000, "print")}
SWEEPS = {"mix_ratio": swept("0", "0.5", "1.0"), MARKUP: swept("some_word", MARKUP, models=(MARKUP,))}
# Figures of two models, of the overview, and of two sweeps.
FIGURES = 2 * 11 + 1 + 2
DARK = [{"name": "prefers-color-scheme", "value": "dark"}]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two models and two sweeps; all texts of one model are markup."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(html(model("first"), model(MARKUP, word=MARKUP), sweeps=SWEEPS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tab(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser tab with the page, at a laptop's size."""
    with browser_tab(tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(1280, 900)
        opened.open(page)
        yield opened


def test_the_page_requests_only_its_file_and_logs_no_problem(tab: Tab, page: Path) -> None:
    assert set(tab.requests) == {page.resolve().as_uri()}
    assert tab.problems == []


def test_every_figure_is_drawn_by_the_browser_and_has_alt_text(tab: Tab) -> None:
    figures = tab.value(
        "[...document.querySelectorAll('figure')].map(figure => ({"
        "live: figure.querySelectorAll('.vega-embed svg').length,"
        "texts: figure.querySelectorAll('.drawing > p').length,"
        "marks: figure.querySelectorAll('svg path, svg text').length, width: figure.querySelector('svg').clientWidth,"
        "text: figure.querySelector('[role=img]').getAttribute('aria-label')}))"
    )
    assert len(figures) == FIGURES
    for figure in figures:
        assert (figure["live"], figure["texts"]) == (1, 0)
        assert figure["marks"] > 5 and figure["width"] > 100 and figure["text"]


def test_a_tooltip_shows_numbers(tab: Tab) -> None:
    point = tab.value(
        "(() => { const mark = document.querySelector('.mark-symbol.role-mark path'); mark.scrollIntoView();"
        "const at = mark.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2]; })()"
    )
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=point[0], y=point[1])
    tooltip = tab.wait("document.querySelector('#vg-tooltip-element.visible')?.innerText")
    assert "measure" in tooltip and "%" in tooltip
    assert tab.value("getComputedStyle(document.querySelector('#vg-tooltip-element')).position") == "fixed"
    assert tab.problems == []


def test_the_form_filters_answers_and_counts_them(tab: Tab) -> None:
    def filtered(**values: str) -> tuple[list[str], str]:
        for name, value in values.items():
            tab.value(
                f"(() => {{ const choice = document.querySelector('.inside form').elements.{name};"
                f"choice.value = '{value}';"
                "choice.dispatchEvent(new Event('change', {bubbles: true})); })()"
            )
        kinds = tab.value(
            "[...document.querySelector('.inside').querySelectorAll('.answer')]"
            ".filter(answer => answer.checkVisibility())"
            ".map(answer => answer.dataset.suite + ', ' + answer.dataset.kind)"
        )
        return sorted(kinds), tab.value("document.querySelector('.inside output').textContent")

    all_answers, message = filtered()
    assert (len(all_answers), message) == (8, "8 answers.")
    assert filtered(suite="addition") == (["addition, false wrong opinion"] * 2, "2 answers.")
    assert filtered(suite="claims", kind="no opinion") == (["claims, no opinion"] * 2, "2 answers.")
    assert filtered(set="addition") == ([], "0 answers.")
    assert filtered(suite="", set="", kind="") == (all_answers, "8 answers.")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits(tab: Tab, page: Path, tmp_path: Path, width: str) -> None:
    pixels_x, pixels_y, media = WIDTHS[width]
    tab.resize(pixels_x, pixels_y, media=media)
    tab.open(page)
    assert tab.value("document.documentElement.scrollWidth") <= pixels_x
    for name in ("window", "page"):
        tab.screenshot(tmp_path / f"{width}-{name}.png", full_page=name == "page")
        assert (tmp_path / f"{width}-{name}.png").stat().st_size > 10_000
    # The size of each figure's labels on the screen, in pixels: figures may shrink, but must stay readable.
    sizes = tab.value(
        "[...document.querySelectorAll('figure svg')].map(svg => 13 * svg.clientWidth / svg.getAttribute('width'))"
    )
    assert min(sizes) > 8
    assert tab.problems == []


def test_dark_mode_applies_to_page_and_figures(tab: Tab, page: Path) -> None:
    tab.resize(1280, 900, features=DARK)
    tab.open(page)
    background, label, mark = tab.value(
        "[[document.body, 'backgroundColor'], [document.querySelector('figure svg text'), 'fill'],"
        "[document.querySelector('figure svg [fill=\"#0072B2\"]'), 'fill']].map(([e, key]) => getComputedStyle(e)[key])"
    )
    assert (background, label, mark) == ("rgb(21, 24, 27)", "rgb(228, 231, 234)", "rgb(86, 180, 233)")


def test_without_scripts_figures_are_shown_as_text(tab: Tab, page: Path) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.call("Page.navigate", url=page.resolve().as_uri())
    tab.wait("document.readyState == 'complete'")
    texts = tab.value(
        "[...document.querySelectorAll('.drawing > p')].filter(text => text.checkVisibility()).map(e => e.innerText)"
    )
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert len(texts) == FIGURES and all(texts)
