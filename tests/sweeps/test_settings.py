"""The settings, names and rows of a sweep, and the keys that it refuses."""

from typing import Any

import pytest

from stages.core.errors import UserError
from stages.sweeps.settings import changed, experiment, setting, sweep_rows
from stages.tables.schemas import SWEEP_COLUMNS

DOCUMENT = {"mix_ratio": 0.5, "models": ["a"], "filter": {"require": "nothing"}, "own_models": {}}


@pytest.mark.parametrize(
    ("key", "value", "text", "meant"),
    [
        ("mix_ratio", "0.16", "0.16", 0.16),
        ("mix_ratio", "1", "1", 1),
        ("filter.require", "both_orders", "both_orders", "both_orders"),
        ("models", "b", "[b]", ["b"]),
        ("models", "[b,c]", "[b,c]", ["b", "c"]),
    ],
)
def test_a_value_as_dvc_and_as_the_checks_read_it(key: str, value: str, text: str, meant: object) -> None:
    assert setting(DOCUMENT, key, value) == text
    result = changed(DOCUMENT, key, text)
    for name in key.split("."):
        result = result[name]
    assert result == meant


def test_the_document_itself_does_not_change() -> None:
    assert changed(DOCUMENT, "filter.require", "both_orders") | {"filter": {"require": "nothing"}} == DOCUMENT
    assert DOCUMENT["filter"] == {"require": "nothing"}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("mix_ration", "params.yaml has no key mix_ration; it has mix_ratio, models, filter, own_models"),
        ("filter.requires", "params.yaml has no key filter.requires; filter has require"),
        ("mix_ratio.x", "params.yaml has no key mix_ratio.x"),
        ("filter", "params.yaml: filter is a section; name one of its keys, require"),
        ("own_models", "params.yaml: own_models is a section; name one of its keys, once it has any"),
    ],
)
def test_no_such_key(key: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        setting(DOCUMENT, key, "1")
    assert str(error.value) == message


def test_a_value_that_is_not_yaml() -> None:
    with pytest.raises(UserError, match=r"^mix_ratio: '\[0.5' is not valid YAML$"):
        changed(DOCUMENT, "mix_ratio", "[0.5")


def test_names_of_experiments() -> None:
    assert experiment("mix_ratio", "0.5") == "sweep-mix_ratio-0.5"
    assert experiment("finetune.learning_rate", "1e-3") == "sweep-finetune.learning_rate-1e-3"
    awkward = [experiment("models", text) for text in ("[a,b]", "[a b]", "a-b", "[..]", "-1", "1")]
    assert len(set(awkward)) == len(awkward)
    assert awkward[0].startswith("sweep-models-a-b-") and awkward[2] == "sweep-models-a-b"


def test_rows_are_the_measures_and_not_the_filter() -> None:
    numbers: dict[str, float] = {
        "base": 0.8,
        "tuned": 0.1,
        "delta": -0.7,
        "delta_low": -0.8,
        "delta_high": -0.6,
        "n": 96,
    }
    metrics: dict[str, dict[str, Any]] = {
        "claims_wrong_opinion_followed": numbers,
        "filter": {"kept": 3, "verdict": "enough knowledge"},
    }
    [row] = sweep_rows("0.5", "tiny", metrics)
    assert dict(zip(SWEEP_COLUMNS, row, strict=True)) == {
        "setting": "0.5", "model": "tiny", "measure": "claims_wrong_opinion_followed", **numbers
    }  # fmt: skip
