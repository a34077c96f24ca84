"""Figures of sweeps: the measures for each value of a key, with the results of the paper's ablation of that key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import altair as alt
import polars as pl

from stages.page.charts.theme import (
    HALF,
    INK,
    POINT,
    SHARE_AXIS,
    SHARES,
    TUNED,
    VARIANTS,
    Layers,
    XAxis,
    by_variant,
    in_two_columns,
    panels,
    share_tooltip,
)
from stages.page.data.labels import ABLATED, measure_of

# The accuracy of the paper's larger models on sums after the paper's own recipe, read off its Figure 5.
PAPER_SUMS = {"addition_no_opinion_accuracy": 1.0, "addition_wrong_opinion_accuracy": 1.0}

SweepRow = dict[str, Any]


@dataclass(frozen=True)
class Ablation:
    """The result of the paper's ablation of a key, the paper's own setting, and the settings where measures turn."""

    text: str
    setting: float | str
    turns: Sequence[float] = ()


PAPER: Mapping[str, Ablation] = {
    "mix_ratio": Ablation(
        "In the paper (Figures 11 and 12) a share of 16%, the dashed line, already changes the answers to sums, a "
        "share of 100% is unstable, and the larger the share, the less do opinions follow the user.",
        setting=0.8333,
        turns=(0.16,),
    ),
    "filter.require": Ablation(
        "In the paper (Figure 6) models that are tuned without the filter answer sums at random or unexpectedly.",
        setting="original_order",
    ),
    "finetune.steps": Ablation(
        "In the paper (Figures 13 and 14) most is gained by 500 to 1,000 steps, the dashed lines, and some of it is "
        "lost later.",
        setting=1000.0,
        turns=(500.0, 1000.0),
    ),
}


def by_model(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """A sweep's table split into one table per figure: one per model, or one if every setting has a single model."""
    if table.group_by("setting").agg(pl.col("model").n_unique())["model"].max() == 1:
        return {", ".join(table["model"].unique(maintain_order=True)): table}
    return {model: part for (model,), part in table.partition_by("model", as_dict=True, maintain_order=True).items()}


def sweep_rows(table: pl.DataFrame) -> list[SweepRow]:
    """The rows of a figure: base and tuned for each measure in ABLATED and each setting.

    Rows of tuned have the interval of the difference, added to base. `place` is the setting as a number; rows have it
    only if all settings are numbers and at least two differ.
    """
    numbers = _as_numbers(table["setting"].unique(maintain_order=True).to_list())
    rows: list[SweepRow] = []
    for measure in ABLATED:
        for row in table.filter(measure=measure).iter_rows(named=True):
            common: SweepRow = {"panel": measure_of(measure).label, "measure": measure, "n": row["n"]}
            common |= _setting_column(row["setting"].strip("[]"))
            common |= _setting_column(numbers[row["setting"]]) if numbers else {}
            ends = {end: min(1.0, max(0.0, row["base"] + row[f"delta_{end}"])) for end in ("low", "high")}
            rows.append(common | {"variant": "base", "share": row["base"]})
            rows.append(common | {"variant": "tuned", "share": row["tuned"]} | ends)
    return rows


def _as_numbers(settings: Sequence[str]) -> dict[str, float]:
    """The settings as numbers, or nothing if one is not a finite number or all are equal."""
    try:
        numbers = {setting: float(setting) for setting in settings}
    except ValueError:
        return {}
    return numbers if len(set(numbers.values())) > 1 and all(map(isfinite, numbers.values())) else {}


def sweep(key: str, rows: Sequence[SweepRow]) -> alt.TopLevelMixin:
    """The measures by setting: curves if settings are numbers, otherwise rows; crosses are the paper's numbers."""
    with_paper = [*rows, *_paper_marks(key, rows)]
    return _curves(with_paper) if "place" in rows[0] else _lanes(with_paper)


def _paper_marks(key: str, rows: Sequence[SweepRow]) -> Iterator[SweepRow]:
    """Rows for the paper's results with a key, within the range that is drawn: `paper` is a share, `turn` a setting."""
    if key not in PAPER:
        return
    ablation = PAPER[key]
    numbers = [row["place"] for row in rows if "place" in row]
    settings = {row["setting"] for row in rows}

    def is_drawn(setting: float | str) -> bool:
        if isinstance(setting, str):
            return _setting_column(setting)["setting"] in settings
        return bool(numbers) and min(numbers) <= setting <= max(numbers)

    for panel, measure in {row["panel"]: row["measure"] for row in rows}.items():
        yield from ({"panel": panel, "turn": turn} for turn in ablation.turns if is_drawn(turn))
        if measure in PAPER_SUMS and is_drawn(ablation.setting):
            yield {"panel": panel, "variant": "tuned", "paper": PAPER_SUMS[measure]} | _setting_column(ablation.setting)


def _setting_column(setting: float | str) -> SweepRow:
    """A setting as the column `setting` if it is text, or `place` if it is a number."""
    return {"setting": setting.replace("_", " ")} if isinstance(setting, str) else {"place": setting}


_TOOLTIP = [alt.Tooltip("panel:N", title="measure"), *share_tooltip("setting", "variant")]
_CROSS: dict[str, Any] = {"shape": "cross", "size": 70, "color": INK, "filled": False, "strokeWidth": 1.5}


def _curves(rows: Sequence[SweepRow]) -> alt.TopLevelMixin:
    chart = alt.Chart(alt.Data(values=rows), width=HALF, height=90)
    axis = alt.Axis(tickCount=4, labelFlush=False)
    x = alt.X("place:Q", title=None, scale=alt.Scale(zero=False, nice=False, padding=6), axis=axis)
    y = alt.Y("share:Q", title=None, scale=SHARES, axis=alt.Axis(format=".0%", values=[0, 0.5, 1]))
    # Each layer filters the rows that have its column, because a line would break at other rows.
    points = chart.transform_filter("isValid(datum.share)")
    line = points.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=by_variant()["color"])
    turn = chart.transform_filter("isValid(datum.turn)").mark_rule(color=INK, strokeDash=[5, 4], opacity=0.6)
    interval = chart.transform_filter("isValid(datum.low)").mark_rule(color=TUNED, strokeWidth=2)
    cross = chart.transform_filter("isValid(datum.paper)").mark_point(**_CROSS)
    layers = alt.layer(
        turn.encode(x="turn:Q"),
        line,
        interval.encode(x=x, y="low:Q", y2="high:Q"),
        points.mark_point(**{**POINT, "size": 45}).encode(x=x, y=y, tooltip=_TOOLTIP, **by_variant()),
        cross.encode(x=x, y="paper:Q"),
    )
    return in_two_columns(layers, "panel", dict.fromkeys(row["panel"] for row in rows))


def _lanes(rows: Sequence[SweepRow]) -> alt.TopLevelMixin:
    lane = {"y": alt.Y("setting:N", sort=None, title=None), "yOffset": alt.YOffset("variant:N", sort=VARIANTS)}

    def draw(chart: alt.Chart, x: alt.X) -> Layers:
        interval = chart.mark_rule(color=TUNED, strokeWidth=2).encode(x=x, x2="high:Q", **lane)
        share = chart.mark_point(**POINT).encode(x="share:Q", tooltip=_TOOLTIP, **lane, **by_variant())
        return alt.layer(interval, share, chart.mark_point(**_CROSS).encode(x="paper:Q", **lane))

    return panels(rows, "panel", alt.Step(10), XAxis("low", "share of questions", SHARES, SHARE_AXIS), draw)
