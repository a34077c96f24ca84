"""Progress: a bar on a terminal, otherwise plain lines, at most one every ten seconds."""

import io
import sys

import pytest

from stages.core import progress as module
from stages.core.progress import progress


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_line_every_ten_seconds_and_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("asking", 1_200, "questions") as advance:
        for _ in range(6):
            clock.now += 4.0
            advance(200, "loss 0.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "asking: 600 of 1,200 questions, 50.0/s, 12 s left, loss 0.5",
        "asking: 1,200 questions in 24 s",
    ]


def test_quick_work_is_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 2.5, "MB") as advance:
        advance(2.5, "")
    assert capsys.readouterr().err == "reading: 2 MB in 0 s\n"


def test_the_first_line_works_without_a_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("asking", 10, "questions") as advance:
        clock.now += 10.0
        advance(0, "")
        advance(10, "")
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("asking: 0 of 10 questions, 0.0/s, ")


def test_failed_work_is_not_reported_as_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), progress("asking", 10, "questions") as advance:
        advance(3, "")
        raise ValueError("no")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_and_no_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        terminal = Terminal()
        patched.setattr(sys, "stderr", terminal)
        with progress("asking", 4, "questions") as advance:
            advance(3, "loss 0.5")
            advance(1, "loss 0.4")
        output = terminal.getvalue()
    assert capsys.readouterr().out == ""  # standard output is only for the results of a command
    assert "asking" in output
    assert "4/4 questions" in output
    assert "loss 0.4" in output
    assert "questions in" not in output
