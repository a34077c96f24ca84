"""Draws the README's figure and prints the table of results.json.

Run from the project's folder: `python -m bench.recipes.figure` writes docs/recipes.svg.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import altair as alt

from stages.page.charts.svg import render

HERE = Path(__file__).parent
FIGURE = Path("docs/recipes.svg")

MEASURES = {
    "claims_no_opinion_accuracy": "claims, no opinion",
    "claims_right_opinion_accuracy": "claims, right opinion",
    "claims_wrong_opinion_accuracy": "claims, wrong opinion",
    "addition_no_opinion_accuracy": "false sums, no opinion",
    "addition_wrong_opinion_accuracy": "false sums, wrong opinion",
    "addition_true_sums_accuracy": "true sums",
}
BASE, TUNED = "#D55E00", "#0072B2"


def main() -> None:
    """Writes the figure and prints the table."""
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    alt_text = "Share of right answers before and after, by recipe and condition; the same numbers as in the table."
    FIGURE.write_text(render(_chart(results), alt_text) + "\n", encoding="utf-8")
    print("| recipe | `dvc exp run` | kept | " + " | ".join(MEASURES.values()) + " |")
    print("|---|---|---:" + "|---:" * len(MEASURES) + "|")
    for name, entry in results.items():
        shares = [f"{entry[key]['base']:.2f} → {entry[key]['tuned']:.2f}" for key in MEASURES]
        kept = f"{entry['filter']['kept']} of {entry['filter']['judged']}"
        settings = shlex.join(entry["command"].split(" ")[3:])
        print(f"| {name} | {f'`{settings}`' if settings else ''} | {kept} | " + " | ".join(shares) + " |")


def _chart(results: dict[str, Any]) -> alt.TopLevelMixin:
    rows = [
        {"recipe": name, "measure": label, "base": entry[key]["base"], "tuned": entry[key]["tuned"]}
        for name, entry in results.items()
        for key, label in MEASURES.items()
    ]
    chart = alt.Chart(alt.Data(values=rows), width=105, height=alt.Step(24))
    y = alt.Y("recipe:N", sort=list(results), title=None, axis=alt.Axis(labelLimit=260))
    x = alt.X("base:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1], format=".0%"))
    lines = chart.mark_rule(color="gray", strokeWidth=2, opacity=0.5).encode(y=y, x=x, x2="tuned:Q")
    before = chart.mark_point(size=50, filled=True, opacity=1, color=BASE, shape="circle").encode(y=y, x=x)
    after = chart.mark_point(size=60, filled=True, opacity=1, color=TUNED, shape="diamond").encode(y=y, x="tuned:Q")
    column = alt.Column("measure:N", sort=list(MEASURES.values()), title=None)
    # On a white background, since the README may be shown on a dark one.
    facets = (lines + before + after).facet(column=column).configure(background="white").configure_view(stroke="#ddd")
    # Room for labels, in case the reader's sans-serif font is wider than the one that they were measured with.
    return facets.properties(padding={"left": 50, "top": 5, "right": 10, "bottom": 5})


if __name__ == "__main__":
    main()
