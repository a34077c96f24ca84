"""Readers of the report files: malformed files are refused with a message of one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.core.errors import UserError
from stages.page.data.report_files import (
    Change,
    Shortcut,
    read_breakdown,
    read_counts,
    read_filter,
    read_losses,
    read_metrics,
    read_shortcuts,
    read_steps,
    read_sweep,
    read_training,
    read_validation,
)

MEASURE = {"base": 0.5, "tuned": 0.52, "delta": 0.02, "delta_low": -0.01, "delta_high": 0.05, "n": 192}


def written(folder: Path, document: Any) -> Path:
    path = folder / "report.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def test_metrics_leave_out_the_filter_s_entry(tmp_path: Path) -> None:
    path = written(tmp_path, {"claims_no_opinion_accuracy": MEASURE, "filter": {"judged": 3}, "note": "no measure"})
    assert read_metrics(path) == {"claims_no_opinion_accuracy": Change(0.5, 0.52, 0.02, -0.01, 0.05, 192)}


def test_the_training_curve_is_ordered_by_step(tmp_path: Path) -> None:
    path = written(tmp_path, "step,loss,learning_rate\n2,1,0.1\n1,2.5,0.1\n")
    assert read_training(path).rows() == [(1, 2.5), (2, 1.0)]


def test_losses_keep_their_sources(tmp_path: Path) -> None:
    path = written(tmp_path, "step,source,loss\n2,zoo,1\n1,zoo,2.5\n1,7,3\n")
    assert read_losses(path).rows() == [("zoo", 1, 2.5), ("7", 1, 3.0), ("zoo", 2, 1.0)]


@pytest.mark.parametrize(
    ("read", "document", "where"),
    [
        (read_metrics, {"a": MEASURE | {"base": "half"}}, "a.base"),
        (read_metrics, '{"a": {"base": NaN}}', "a.base"),
        (read_metrics, "{", "not JSON"),
        (read_metrics, [1], "no keys"),
        (read_filter, {"judged": 1}, "kept"),
        (read_validation, {"datasets": {}, "total": {"rows": "many"}}, "total.rows"),
        (read_counts, {"rows": {"zoo": {"raw": "many"}}, "instructions": {}}, "rows.zoo.raw"),
        (read_shortcuts, {"order": {"training_prompts": 1.5, "held_out_claims": 0.5}}, "order.training_prompts"),
        (read_training, "step,gain\n1,2\n", "loss"),
        (read_training, "step,loss\n1,low\n", "training curve"),
        (read_training, "", "training curve"),
        (read_losses, "step,loss\n1,2\n", "source"),
        (read_steps, "step,value\n0,0.5\n", "measure"),
        (read_breakdown, "suite,base\nclaims,0.5\n", "condition"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(
    tmp_path: Path, read: Callable[[Path], Any], document: Any, where: str
) -> None:
    path = written(tmp_path, document)
    with pytest.raises(UserError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert where in str(error.value)
    assert "dvc repro" in str(error.value) and "\n" not in str(error.value)


SWEPT = "setting,model,measure,base,tuned,delta,delta_low,delta_high,n\n1.0,a,x_accuracy,0.5,0.25,-0.25,-0.5,0,9\n"


def test_a_sweep_keeps_its_settings_as_they_were_typed(tmp_path: Path) -> None:
    assert read_sweep(written(tmp_path, SWEPT)).rows() == [("1.0", "a", "x_accuracy", 0.5, 0.25, -0.25, -0.5, 0.0, 9)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (SWEPT.partition("\n")[0] + "\n", "it has no rows"),
        (SWEPT.replace("tuned", "after"), "tuned"),
        (SWEPT.replace("0.25,", "low,", 1), "could not parse `low`"),
        (SWEPT.replace("0.25,", ",", 1), "a cell is empty"),
        (SWEPT.replace("0.25,", "NaN,", 1), "a number is not finite"),
        (SWEPT.replace("0,9", "0,9.5"), "could not parse `9.5`"),
        (SWEPT + SWEPT.partition("\n")[2], "a setting has a model's measure twice"),
    ],
)
def test_a_malformed_sweep_is_one_line_that_says_how_to_make_it_again(tmp_path: Path, text: str, why: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_sweep(path)
    message = str(error.value)
    assert message.startswith(f"{path} is not a table of a sweep (") and why in message and "\n" not in message
    assert message.endswith("; delete it and run `candor sweep report VALUE...`")


def test_shortcuts_by_rule(tmp_path: Path) -> None:
    rule = {"training_prompts": 0.5, "held_out_claims": None}
    assert read_shortcuts(written(tmp_path, {"prompts": 3, "claims": 0, "order": rule})) == {
        "order": Shortcut(0.5, None)
    }


@pytest.mark.parametrize(
    "read",
    [
        read_metrics,
        read_filter,
        read_counts,
        read_validation,
        read_shortcuts,
        read_training,
        read_losses,
        read_breakdown,
        read_steps,
        read_sweep,
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        read(tmp_path / "nowhere")
