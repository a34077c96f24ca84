"""Runs the `candor` command in tests."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from stages.__main__ import main


class Outcome(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str


@pytest.fixture
def candor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`candor("score", path, …)` runs the command in this process."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["candor", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        status = done.value.code or 0
        assert isinstance(status, int)
        return Outcome(status, *capsys.readouterr())

    return call
