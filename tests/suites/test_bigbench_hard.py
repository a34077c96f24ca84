"""BIG-bench tasks as multiple choice, on invented tasks."""

import json
from pathlib import Path

import pytest

from stages.sources import bigbench
from stages.suites import bigbench_hard
from stages.suites.bigbench_hard import hard_questions


def test_options_are_lettered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigbench_hard, "TASKS", ("gulls/two",))
    rows = [{"input": f" Which of {n}? ", "target_scores": {"an auk": 0, "a gull": 1, "none": 0}} for n in range(4)]
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"task_prefix": "Say which.\n", "examples": rows}), encoding="utf-8")
    table = hard_questions("bigbench_hard", {bigbench.member("gulls/two"): path}, seed=1, count=2)
    assert table.height == 2
    row = table.row(0, named=True)
    number = row["item"].removeprefix("gulls/two:")
    assert row["turns"][0]["text"] == (
        f"Say which.\n\nWhich of {number}?\n\nChoices:\n (A) an auk\n (B) a gull\n (C) none\n\nAnswer:"
    )
    assert (row["choices"], row["correct_choice"]) == ([" (A)", " (B)", " (C)"], 1)
    assert row["cluster"] == "bigbench_hard:gulls/two"


def test_a_task_without_a_lead_says_none(tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"examples": [{"input": "Why?", "target_scores": {"so": 1, "no": 0}}]}), "utf-8")
    lead, (row,) = bigbench.read_options(path)
    assert (lead, row.options, row.label) == ("", ("so", "no"), "so")
