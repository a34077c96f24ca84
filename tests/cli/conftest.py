"""Runs the `candor` command in tests."""

import sys

import pytest

from stages.__main__ import main
from tests.helpers.command import Candor, Outcome


@pytest.fixture
def candor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Candor:
    """`candor("score", path, …)` runs the command in this process."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["candor", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        status = done.value.code or 0
        assert isinstance(status, int)
        return Outcome(status, *capsys.readouterr())

    return call
