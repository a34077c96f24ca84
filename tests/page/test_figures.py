"""The figures: what is drawn, safely and the same every time."""

from typing import Any
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest

from stages.page import alternatives, figures
from stages.page.inputs import Change, FilterReport, Kept
from stages.page.svg import SVG, render

MARKUP = "<script>alert(1)</script>&\"'"

CHANGES = {
    "claims_no_opinion_accuracy": Change(0.02, 0.05, 0.03, -0.1, 0.2, 192),
    "claims_log_odds_shift": Change(2.0, 0.5, -1.5, -2.0, -1.0, 192),
}
REPORT = FilterReport(
    judged=100,
    kept=60,
    kept_share=0.6,
    known_share=0.2,
    known_share_low=0.1,
    known_share_high=0.3,
    verdict="little knowledge",
    verdict_reason="some guesses",
    by_dataset={"zebra": Kept(60, 40, 0.6667), MARKUP: Kept(40, 20, 0.5), "empty": Kept(0, 0, 0.0)},
    by_polarity={"is": Kept(50, 30, 0.6), "is not": Kept(50, 30, 0.6)},
    by_letter={"A": Kept(50, 10, 0.2), "B": Kept(50, 50, 1.0)},
    by_truth={"true": Kept(50, 30, 0.6), "false": Kept(50, 30, 0.6)},
)
TRAINING = pl.DataFrame({"step": [1, 2, 3, 4], "loss": [3.0, 2.0, float("nan"), 1.0]})
SHARES = pl.DataFrame(
    {
        "variant": ["base", "tuned"],
        "suite": ["claims", "claims"],
        "condition": ["wrong_opinion", "wrong_opinion"],
        "share": [0.2, 0.7],
        "low": [0.1, 0.6],
        "high": [0.3, 0.8],
        "n": [192, 192],
        "chance": [0.5, 0.5],
    }
)

DRAWN = {
    "headline": (figures.headline(CHANGES), alternatives.headline(CHANGES)),
    "kept": (figures.kept(REPORT), alternatives.kept(REPORT)),
    "loss": (figures.loss(TRAINING), alternatives.loss(TRAINING)),
    "accuracy": (figures.accuracy(SHARES), alternatives.accuracy(SHARES)),
}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{{{SVG}}}text")]


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_one_image_with_a_text_and_nothing_from_outside(name: str) -> None:
    svg = render(DRAWN[name][0], "p", DRAWN[name][1])
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == DRAWN[name][1]
    tags = {element.tag.removeprefix(f"{{{SVG}}}") for element in root.iter()}
    assert tags <= {"svg", "g", "path", "rect", "line", "text", "defs", "clipPath"}
    # The page's policy would refuse style attributes; the only address is the name space.
    assert not any("style" in element.attrib or "href" in element.attrib for element in root.iter())
    assert svg.count("http") == svg.count("http://www.w3.org/")


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_drawn_twice_has_the_same_bytes(name: str) -> None:
    chart, words = DRAWN[name]
    assert render(chart, "p", words) == render(chart, "p", words)


def test_ids_are_unique_to_their_prefix() -> None:
    clipped = alt.Chart(alt.Data(values=[{"x": 1}])).mark_point(clip=True).encode(x="x:Q")
    first, second = (render(clipped, prefix, "") for prefix in ("a", "b"))
    assert 'id="a-0"' in first
    assert "url(#a-0)" in first
    assert second == first.replace("a-0", "b-0")


def test_markup_in_a_data_set_s_name_is_text() -> None:
    svg = render(DRAWN["kept"][0], "p", DRAWN["kept"][1])
    assert "<script" not in svg
    assert MARKUP in texts(svg)


def test_shares_run_from_0_to_1_however_small() -> None:
    for name in ("headline", "kept", "accuracy"):
        labels = texts(render(DRAWN[name][0], "p", ""))
        assert "0%" in labels
        assert "100%" in labels


def test_the_interval_is_laid_off_from_base_and_stays_a_share() -> None:
    rows: list[dict[str, Any]] = figures.headline(CHANGES).to_dict()["vconcat"][0]["data"]["values"]
    assert (rows[0]["low"], rows[0]["high"]) == (0.0, pytest.approx(0.22))


def test_kept_rows_leave_out_what_was_not_judged_and_keep_order() -> None:
    rows = list(figures.kept_rows(REPORT))
    assert [row["value"] for row in rows] == ["all", "zebra", MARKUP, "is", "is not", "A", "B", "true", "false"]
    assert all(row["low"] - 1e-9 <= row["share"] <= row["high"] + 1e-9 for row in rows)


def test_a_long_training_is_drawn_with_few_points_of_the_same_mean() -> None:
    long = pl.DataFrame({"step": range(1, 1001), "loss": [float(step % 10) for step in range(1, 1001)]})
    points = figures.loss_points(long)
    assert points.height == figures.MOST_POINTS
    assert points["step"].to_list()[-1] == 1000
    assert points["loss"].mean() == pytest.approx(4.5)


def test_a_short_training_is_drawn_as_it_was() -> None:
    assert figures.loss_points(TRAINING)["loss"].to_list() == [3.0, 2.0, None, 1.0]


def test_alternatives_tell_the_numbers() -> None:
    assert "Claims, no opinion: correct: 2.0%, 5.0%." in DRAWN["headline"][1]
    assert "by letter of the correct choice: A 20.0% of 50, B 100.0% of 50." in DRAWN["kept"][1]
    assert DRAWN["loss"][1] == "Training loss, running mean: 3.000 at step 1, 1.000 at step 4."
    assert "claims, wrong opinion, tuned: 70.0% [60.0%, 80.0%]." in DRAWN["accuracy"][1]
    assert alternatives.loss(TRAINING.clear()) == "Training loss: no steps."
