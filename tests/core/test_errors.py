"""A user's mistake is reported as one line with an exit status; a defect keeps its traceback."""

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
    raise OSError("a defect that the system did not report")


@pytest.mark.parametrize(
    ("call", "status", "line"),
    [
        (mistaken, 1, "error: params.yaml: seed is 'x': it should be a number\n"),
        (interrupted, 130, "stopped: no half-written files are left; run the same command again to continue\n"),
        (missing, 1, "error: no such folder/file: No such file or directory\n"),
        (full_disk, 1, "error: a file: No space left on device\n"),
    ],
)
def test_a_users_mistake_is_one_line(
    call: Callable[[], None], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        guarded(call)
    assert exited.value.code == status
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("lines", [1, 100_000], ids=["at the end", "on the way"])
def test_a_closed_output_ends_a_command_silently(lines: int) -> None:
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


def test_success_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(lambda: None)
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_within_a_command_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()
    app.command()(command(interrupted))
    monkeypatch.setattr(sys, "argv", ["candor"])
    with pytest.raises(SystemExit) as exited:
        guarded(app)
    assert exited.value.code == 130
    assert (
        capsys.readouterr().err == "stopped: no half-written files are left; run the same command again to continue\n"
    )


def test_a_command_gets_its_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def main(name: str, out: Path) -> None:
        out.write_text(name, encoding="utf-8")

    monkeypatch.setattr(sys, "argv", ["stage", "toys", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exited:
        run(main)
    assert exited.value.code == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == "toys"


@pytest.mark.parametrize(("call", "status"), [(mistaken, 1), (interrupted, 130), (missing, 1)])
def test_a_commands_exit_status(call: Callable[[], None], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit) as exited:
        run(call)
    assert exited.value.code == status


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (mistaken, "error: params.yaml: seed is 'x': it should be a number\n"),
        (interrupted, "stopped: no half-written files are left; run the same command again to continue\n"),
    ],
)
def test_a_stopped_command_prints_one_line(
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
