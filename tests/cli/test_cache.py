"""`candor cache`: stores of answers are listed, limited and cleared."""

import os
from pathlib import Path

import numpy as np
import pytest

from stages.inference.store import AnswerStore, list_stores
from tests.helpers.command import Candor


@pytest.fixture(autouse=True)
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stores; the first was used last."""
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for age, name in enumerate(("first", "second", "third")):
        path = tmp_path / f"answers/{name}.sqlite"
        store = AnswerStore(path, f"models/base/{name}", "float32 cpu")
        store.put({bytes([number]) * 16: np.zeros(2, np.float32) for number in range(5 + age)})
        store.close()
        os.utime(path, (1e9 - 3600 * age, 1e9 - 3600 * age))


def stores() -> list[str]:
    return [store.path.stem for store in list_stores()]


def test_stores_are_shown(candor: Candor) -> None:
    done = candor("cache", "show")
    shown = [line for line in done.out.splitlines() if "models/base" in line]
    assert done.status == 0
    assert ["models/base/first" in shown[0], "models/base/third" in shown[2]] == [True, True]
    assert "float32 cpu" in shown[0] and " 5 " in shown[0] and "2001-09-09 01:46" in shown[0]


def test_the_longest_unused_go_first(candor: Candor) -> None:
    size = list_stores()[0].bytes / 2**20
    assert candor("cache", "limit", "1").out.startswith("deleted 0 stores")
    assert candor("cache", "limit", 2.5 * size).out.startswith("deleted 1 stores")
    assert stores() == ["first", "second"]
    candor("cache", "limit", "0")
    assert stores() == []


@pytest.mark.parametrize("limit", ["-1", "nan"])
def test_an_invalid_limit_is_refused(candor: Candor, limit: str) -> None:
    done = candor("cache", "limit", "--", limit)
    assert done.status == 1 and "a number of MiB, 0 or more, is expected" in done.err
    assert len(stores()) == 3


def test_a_model_or_all_can_be_cleared(candor: Candor) -> None:
    candor("cache", "clear", "models/base/second")
    assert stores() == ["first", "third"]
    wrong = candor("cache", "clear", "second")
    message = "error: there is no store of 'second'; there are stores of models/base/first, models/base/third\n"
    assert (wrong.status, wrong.err) == (1, message)
    candor("cache", "clear")
    assert stores() == []
