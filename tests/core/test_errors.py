"""How a mistake reaches its user: one line, an exit status, no traceback; and a defect keeps its traceback."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from stages.core.errors import UserError, command, guarded, run


def mistaken() -> None:
    raise UserError("params.yaml: seed is 'x': it should be\na number")


def interrupted() -> None:
    raise KeyboardInterrupt


def missing() -> None:
    Path("no such folder/file").read_bytes()


def full_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def defective() -> None:
    raise ZeroDivisionError("a defect")


def odd() -> None:
    raise OSError("a defect that is no refusal of the system")


@pytest.mark.parametrize(
    ("call", "status", "line"),
    [
        (mistaken, 1, "error: params.yaml: seed is 'x': it should be a number\n"),
        (interrupted, 130, "stopped: nothing half-written was left; the same command goes on from here\n"),
        (missing, 1, "error: no such folder/file: No such file or directory\n"),
        (full_disk, 1, "error: a file: No space left on device\n"),
    ],
)
def test_a_users_mistake_is_one_line(
    call: Callable[[], None], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        guarded(call)
    assert ended.value.code == status
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("lines", [1, 100_000], ids=["at the end", "on the way"])
def test_a_reader_who_leaves_ends_a_command_without_a_word(lines: int) -> None:
    code = f"from stages.core.errors import guarded; guarded(lambda: [print('a line') for _ in range({lines})])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


@pytest.mark.parametrize(("call", "kind"), [(defective, ZeroDivisionError), (odd, OSError)])
def test_a_defect_keeps_its_traceback(call: Callable[[], None], kind: type[Exception]) -> None:
    with pytest.raises(kind, match="a defect"):
        guarded(call)


def test_what_succeeds_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(lambda: None)
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_within_a_command_says_so_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()
    app.command()(command(interrupted))
    monkeypatch.setattr(sys, "argv", ["candor"])
    with pytest.raises(SystemExit) as ended:
        guarded(app)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped: nothing half-written was left; the same command goes on from here\n"


def test_a_command_gets_its_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def main(name: str, out: Path) -> None:
        out.write_text(name, encoding="utf-8")

    monkeypatch.setattr(sys, "argv", ["stage", "toys", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == "toys"


@pytest.mark.parametrize(("call", "status"), [(mistaken, 1), (interrupted, 130), (missing, 1)])
def test_a_commands_exit_status(call: Callable[[], None], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit) as ended:
        run(call)
    assert ended.value.code == status


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (mistaken, "error: params.yaml: seed is 'x': it should be a number\n"),
        (interrupted, "stopped: nothing half-written was left; the same command goes on from here\n"),
    ],
)
def test_what_stops_a_command_is_one_line(
    call: Callable[[], None], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit):
        run(call)
    assert capsys.readouterr() == ("", line)


def test_a_commands_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(ZeroDivisionError, match="a defect"):
        run(defective)
