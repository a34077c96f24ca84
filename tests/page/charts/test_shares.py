"""The figures: their data, reproducible SVG files, and text alternatives."""

import io
import json
import re
from typing import Any
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest

from stages.page.charts import alt_text, curves, shares, sweeps
from stages.page.charts.interactive import bundle, packed, policy_hash, specification
from stages.page.charts.svg import SVG, png, render, size
from stages.page.data.report_files import BREAKDOWN_COLUMNS, STEPS, Change, FilterReport, KeptCounts
from tests.helpers.page_samples import swept, unpacked

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
    by_dataset={"zebra": KeptCounts(60, 40, 0.6667), MARKUP: KeptCounts(40, 20, 0.5), "empty": KeptCounts(0, 0, 0.0)},
    by_polarity={"is": KeptCounts(50, 30, 0.6), "is not": KeptCounts(50, 30, 0.6)},
    by_letter={"A": KeptCounts(50, 10, 0.2), "B": KeptCounts(50, 50, 1.0)},
    by_truth={"true": KeptCounts(50, 30, 0.6), "false": KeptCounts(50, 30, 0.6)},
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

SUMS = SHARES.with_columns(suite=pl.lit("addition"), condition=pl.lit("false_wrong_opinion"))
TASKS = SHARES.rename({"condition": "task"}).with_columns(task=pl.lit(MARKUP))
LOSSES = pl.DataFrame({"source": ["zoo", "zoo", MARKUP], "step": [2, 4, 2], "loss": [2.0, 1.0, float("nan")]})
SHIFTS = pl.DataFrame({"variant": ["base"] * 3 + ["tuned"], "item": list("abca"), "shift": [4.0, 3.0, -1.0, 0.0]})
CELLS = pl.DataFrame(
    {
        "variant": ["base", "base", "tuned"],
        "suite": ["claims"] * 3,
        "user": ["user wrong"] * 3,
        "answer": ["follows", "does not", "does not"],
        "n": [3, 1, 4],
        "share": [0.75, 0.25, 1.0],
    }
)
BREAKDOWN_ROWS = [
    {"group": "all", "value": ""},
    {"group": "cluster", "value": "mmlu:high_school_law"},
    {"group": "cluster", "value": "mmlu:high_school_law", "measure": "p_correct"},
]
COMMON = {"suite": "mmlu", "condition": "five_shot", "measure": "accuracy", "base": 0.5, "tuned": 0.4, "delta": -0.1}
COMMON |= {"delta_low": -0.3, "delta_high": 0.1, "n": 100}
SUBJECTS = shares.subject_rows(pl.DataFrame([COMMON | row for row in BREAKDOWN_ROWS], schema=BREAKDOWN_COLUMNS))
CURVE = pl.DataFrame(
    [
        (0, "claims_right_opinion_accuracy", 0.1, 0.0, 0.0, 0.0, 8),
        (5, "claims_right_opinion_accuracy", 0.3, 0.2, 0.1, 0.4, 8),
        (9, "claims_right_opinion_accuracy", 0.2, 0.1, -0.1, 0.3, 8),
        (9, "claims_log_odds_shift", 2.0, 1.0, 0.5, 1.5, 8),
    ],
    schema=STEPS,
    orient="row",
)
STEPPED = curves.step_rows(CURVE)
BOTH = {"first": CHANGES, "second": CHANGES}

NUMBERS = sweeps.sweep_rows(swept("0", "0.5", "1.0"))
WORDS = sweeps.sweep_rows(swept("nothing", "original_order"))
AWKWARD = sweeps.sweep_rows(swept(f"[{MARKUP}]", "[b]"))

FIGURES = {
    "headline": (shares.headline(CHANGES), alt_text.headline(CHANGES)),
    "models": (shares.models(BOTH), alt_text.models(BOTH)),
    "kept": (shares.kept(REPORT), alt_text.kept(REPORT)),
    "loss": (curves.loss(TRAINING), alt_text.loss(TRAINING)),
    "aside": (curves.validation_loss(LOSSES), alt_text.validation_loss(LOSSES)),
    "accuracy": (shares.accuracy(SHARES), alt_text.shares(SHARES, "Accuracy", "condition")),
    "additions": (shares.additions(SUMS), alt_text.shares(SUMS, "Accuracy", "condition")),
    "followed": (shares.followed(TASKS), alt_text.shares(TASKS, "Goes with the user", "task")),
    "quadrants": (shares.quadrants(CELLS), alt_text.quadrants(CELLS)),
    "steps": (curves.steps(STEPPED), alt_text.steps(STEPPED)),
    "shifts": (curves.shifts(SHIFTS), alt_text.shifts(SHIFTS)),
    "subjects": (shares.subjects(SUBJECTS), alt_text.subjects(SUBJECTS)),
    "sweep of numbers": (sweeps.sweep("mix_ratio", NUMBERS), alt_text.sweep("mix_ratio", NUMBERS)),
    "sweep of words": (sweeps.sweep("filter.require", WORDS), alt_text.sweep("filter.require", WORDS)),
    "sweep of markup": (sweeps.sweep("models", AWKWARD), alt_text.sweep("models", AWKWARD)),
}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{{{SVG}}}text")]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_image_with_alt_text_and_nothing_external(name: str) -> None:
    svg = render(*FIGURES[name])
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == FIGURES[name][1]
    tags = {element.tag.removeprefix(f"{{{SVG}}}") for element in root.iter()}
    assert tags <= {"svg", "g", "path", "rect", "line", "text", "tspan", "defs", "clipPath"}
    # The only address is that of the namespace.
    assert not any("style" in element.attrib or "href" in element.attrib for element in root.iter())
    assert svg.count("http") == svg.count("http://www.w3.org/")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_drawn_twice_has_the_same_bytes(name: str) -> None:
    chart, text = FIGURES[name]
    svg = render(chart, text)
    assert svg == render(chart, text)
    picture = png(svg)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and picture == png(svg)


@pytest.mark.parametrize("name", FIGURES)
def test_removing_invisible_elements_keeps_the_picture(name: str) -> None:
    vega_svg = io.StringIO()
    FIGURES[name][0].save(vega_svg, format="svg")
    svg = render(FIGURES[name][0], "")
    assert len(svg) < 0.8 * len(vega_svg.getvalue())
    assert png(svg) == png(vega_svg.getvalue())


def test_intervals_of_several_models_are_added_to_base() -> None:
    rows = [row for row in data_of(FIGURES["models"][0]) if row["variant"] == "tuned"]
    assert [(row["model"], row["low"], row["high"]) for row in rows] == [
        (model, 0.0, pytest.approx(0.22)) for model in BOTH
    ]


def test_ids_start_from_0_in_each_svg() -> None:
    clipped = alt.Chart(alt.Data(values=[{"x": 1}])).mark_point(clip=True).encode(x="x:Q")
    first, second = (render(clipped, "") for _ in range(2))
    assert 'id="id-0"' in first and "url(#id-0)" in first
    assert second == first


def test_size_is_that_of_the_svg() -> None:
    chart = alt.Chart(alt.Data(values=[{"x": 1}]), width=200, height=50).mark_point().encode(x=alt.X("x:Q", axis=None))
    width, height = size(render(chart.configure(padding=0), ""))
    assert width == pytest.approx(200, abs=5) and height == pytest.approx(50, abs=5)


def test_markup_in_a_data_set_s_name_is_text() -> None:
    for name in ("kept", "followed", "sweep of markup"):
        svg = render(*FIGURES[name])
        assert "<script" not in svg
        assert any(text.startswith("<script>") for text in texts(svg))


@pytest.mark.parametrize("name", FIGURES)
def test_a_specification_is_safe_inside_html(name: str) -> None:
    text = specification(FIGURES[name][0])
    assert re.fullmatch("[A-Za-z0-9+/=]+", text)
    assert json.loads(unpacked(text)) == json.loads(json.dumps(FIGURES[name][0].to_dict()))


def test_vega_s_bundle_is_complete_and_hashes_are_those_of_the_policy() -> None:
    assert "window.vegaEmbed=" in bundle() and unpacked(packed(bundle())) == bundle()
    assert policy_hash("alert(1)") == "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"


def test_the_paper_s_numbers_are_marks_beside_ours() -> None:
    sums, claims = (FIGURES[name][0].to_dict() for name in ("additions", "accuracy"))
    assert [row["paper"] for row in sums["data"]["values"] if "paper" in row] == [1.0, 1.0, 0.05, 0.32, 1.0]
    assert [len(panel["layer"]) for figure in (sums, claims) for panel in figure["vconcat"]] == [4, 3]


def data_of(chart: alt.TopLevelMixin) -> list[dict[str, Any]]:
    """All rows of data that a chart draws."""
    spec = chart.to_dict()
    return [row for panel in spec.get("vconcat", [spec]) for row in panel.get("data", spec.get("data"))["values"]]


def test_a_sweep_shows_base_and_tuned_with_the_interval_added_to_base() -> None:
    rows = [row for row in NUMBERS if row["measure"] == "claims_no_opinion_accuracy"]
    assert [(row["variant"], row["place"], row["share"]) for row in rows] == [
        (variant, place, share) for place in (0.0, 0.5, 1.0) for variant, share in (("base", 0.5), ("tuned", 0.75))
    ]
    assert [(row["low"], row["high"]) for row in rows if "low" in row] == [(0.625, 0.875)] * 3
    # The log-odds are not a share, so an axis of shares does not show them.
    assert {row["measure"] for row in NUMBERS} == {"addition_wrong_opinion_accuracy", "claims_no_opinion_accuracy"}


@pytest.mark.parametrize(
    ("key", "settings", "crosses", "turns"),
    [
        ("mix_ratio", ("0", "0.5", "1.0"), [0.8333], [0.16, 0.16]),
        ("mix_ratio", ("0.2", "0.5"), [], []),
        ("mix_ratio", ("0.5",), [], []),
        ("filter.require", ("nothing", "original_order"), ["original order"], []),
        ("filter.require", ("nothing", "both_orders"), [], []),
        ("finetune.steps", ("64", "512"), [], [500.0, 500.0]),
        ("finetune.batch_size", ("8", "1000"), [], []),
    ],
)
def test_the_paper_s_ablations_are_marked_if_a_sweep_s_range_includes_them(
    key: str, settings: tuple[str, ...], crosses: list[object], turns: list[float]
) -> None:
    rows = data_of(sweeps.sweep(key, sweeps.sweep_rows(swept(*settings))))
    marks = [row for row in rows if "paper" in row]
    assert [row.get("place", row.get("setting")) for row in marks] == crosses
    assert all((row["panel"], row["paper"]) == ("False sums, wrong opinion: correct", 1.0) for row in marks)
    assert [row["turn"] for row in rows if "turn" in row] == turns  # in each of two panels


def test_a_sweep_is_one_figure_or_one_for_each_model() -> None:
    alone = pl.concat([swept("[a]", models=("a",)), swept("[b]", models=("b",))])
    assert list(sweeps.by_model(alone)) == ["a, b"]
    both = sweeps.by_model(swept("1", "2", models=("a", "b")))
    assert {model: part["model"].unique().to_list() for model, part in both.items()} == {"a": ["a"], "b": ["b"]}


@pytest.mark.parametrize("settings", [("1", "x"), ("nan", "1"), ("inf", "1"), ("[1]", "[2]"), ("1", "1.0")])
def test_settings_that_are_not_different_finite_numbers_have_no_axis(settings: tuple[str, ...]) -> None:
    assert all("place" not in row for row in sweeps.sweep_rows(swept(*settings)))


def test_shifts_are_counted_in_bins_of_equal_width_with_an_edge_at_zero() -> None:
    bins = curves.shift_bins(SHIFTS)
    width = 8.0 / curves.BINS
    assert bins["claims"].sum() == SHIFTS.height
    assert (bins["high"] - bins["low"]).to_list() == pytest.approx([width] * bins.height)
    assert all((low / width) % 1 == pytest.approx(0) for low in bins["low"])
    assert bins.filter(variant="base")["median"].to_list() == [3.0, None, None]
    assert bins.filter(variant="tuned").select("low", "claims", "median").rows() == [(0.0, 1, 0.0)]


def test_subjects_are_the_clusters_with_an_accuracy() -> None:
    assert SUBJECTS["subject"].to_list() == ["high_school_law"]


def test_the_curve_has_few_measures_with_intervals_added_to_step_0() -> None:
    assert STEPPED.select("step", "low", "high").rows() == [
        (0, pytest.approx(0.1), pytest.approx(0.1)),
        (5, pytest.approx(0.2), pytest.approx(0.5)),
        (9, pytest.approx(0.0), pytest.approx(0.4)),
    ]
    assert curves.step_rows(CURVE.filter(pl.col("step") != 5)).is_empty()


def test_claims_that_no_opinion_moves_have_a_bin_too() -> None:
    assert curves.shift_bins(SHIFTS.with_columns(shift=0.0))["claims"].to_list() == [3, 1]


def test_shares_run_from_0_to_1_however_small() -> None:
    for name in ("headline", "models", "kept", "accuracy", "additions", "followed"):
        labels = texts(render(FIGURES[name][0], ""))
        assert "0%" in labels
        assert "100%" in labels


def test_the_interval_is_added_to_base_and_stays_a_share() -> None:
    rows: list[dict[str, Any]] = shares.headline(CHANGES).to_dict()["vconcat"][0]["data"]["values"]
    assert (rows[0]["low"], rows[0]["high"]) == (0.0, pytest.approx(0.22))


def test_kept_rows_leave_out_groups_that_were_not_judged_and_keep_order() -> None:
    rows = list(shares.kept_rows(REPORT))
    assert [row["value"] for row in rows] == ["all", "zebra", MARKUP, "is", "is not", "A", "B", "true", "false"]
    assert all(row["low"] - 1e-9 <= row["share"] <= row["high"] + 1e-9 for row in rows)


def test_a_long_training_is_drawn_with_few_points_of_the_same_mean() -> None:
    long = pl.DataFrame({"step": range(1, 1001), "loss": [float(step % 10) for step in range(1, 1001)]})
    points = curves.loss_points(long)
    assert points.height == curves.MAX_POINTS
    assert points["step"].to_list()[-1] == 1000
    assert points["loss"].mean() == pytest.approx(4.5)


def test_a_short_training_is_drawn_as_it_was() -> None:
    assert curves.loss_points(TRAINING)["loss"].to_list() == [3.0, 2.0, None, 1.0]


def test_alt_texts_have_the_numbers() -> None:
    assert "Claims, no opinion: correct: 2.0%, 5.0%." in FIGURES["headline"][1]
    assert "by letter of the correct choice: A 20.0% of 50, B 100.0% of 50." in FIGURES["kept"][1]
    assert FIGURES["loss"][1] == "Training loss, running mean: 3.000 at step 1, 1.000 at step 4."
    assert "claims, wrong opinion, tuned: 70.0% [60.0%, 80.0%]." in FIGURES["accuracy"][1]
    assert FIGURES["models"][1].startswith("first. Claims, no opinion: correct: 2.0%, 5.0%. second. Claims")
    assert "zoo: 2.000 at step 2, 1.000 at step 4." in FIGURES["aside"][1]
    assert "claims, base, user wrong, answer follows: 75.0%." in FIGURES["quadrants"][1]
    assert "base: median +3.00, middle half" in FIGURES["shifts"][1]
    assert "right opinion: correct: 10.0% at step 0, 30.0% at step 5, 20.0% at step 9." in FIGURES["steps"][1]
    assert "mmlu, high school law: −10.0." in FIGURES["subjects"][1]
    assert FIGURES["sweep of words"][1].startswith(
        "Sweep of filter.require, base to tuned. Claims, no opinion: correct: 50.0% to 75.0% with nothing, "
    )
    assert alt_text.loss(TRAINING.clear()) == "Training loss: no steps."
