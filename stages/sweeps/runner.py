"""Runs DVC experiments one after another, each from the last commit, and restores the workspace after each.

Finished experiments are found in git (a commit under refs/exps each), so a stopped sweep resumes with the same command.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import polars as pl
from ruamel.yaml import YAML

from stages.core.errors import Interrupted, UserError
from stages.core.files import atomic_file
from stages.core.params import PARAMS, read_document
from stages.sweeps import settings
from stages.tables.schemas import SWEEP_COLUMNS

SWEEPS = Path("reports/sweeps")
LOCK = "dvc.lock"
# The tables of sweeps may differ from the commit: a sweep writes its own, and others may not be committed yet.
_WITHOUT_TABLES = (".", f":(exclude){SWEEPS}")


def sweep(key: str, values: Sequence[str]) -> Path:
    """Runs an experiment for each value of a key of params.yaml, and writes the table of their measures.

    Raises:
        UserError: a value is invalid, the last commit holds no finished run, or an experiment failed.
    """
    document = read_document()
    texts = list(dict.fromkeys(settings.setting(document, key, value) for value in values))
    commit = _commit()
    for text in texts:
        _check_params(settings.changed(document, key, text))
    refs = [_ref(commit, settings.experiment(key, text)) for text in texts]
    missing = [(ref, text) for ref, text in zip(refs, texts, strict=True) if not _git("for-each-ref", ref)]
    print(f"{key}: {len(texts)} settings, {len(texts) - len(missing)} of them known from before", flush=True)
    if missing:
        _require_finished_run()
    for ref, text in missing:
        _run_experiment(Path(ref).name, key, text)
    return _write_table(key, dict(zip(texts, refs, strict=True)))


def _commit() -> str:
    for name in (".dvc", "dvc.yaml", ".git"):
        if not Path(name).exists():
            raise UserError(f"there is no {name} here; run this in the folder of a project that DVC and git manage")
    return _git("rev-parse", "--verify", "HEAD")


def _check_params(document: dict[str, Any]) -> None:
    """Runs the stage `check` on the params, before the first experiment and not hours later."""
    if isinstance(hub := document.get("hub"), str) and hub:
        document["hub"] = str(Path(hub).resolve())
    with TemporaryDirectory() as folder:
        # JSON is valid YAML 1.2.
        (Path(folder) / PARAMS).write_text(json.dumps(document, default=str), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "stages.check"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise UserError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))


def _require_finished_run() -> None:
    changed = _git("diff", "--name-only", "HEAD", "--", *_WITHOUT_TABLES).splitlines()
    if changed:
        files = f"{changed[0]} and {len(changed) - 1} more differ" if len(changed) > 1 else f"{changed[0]} differs"
        raise UserError(f"{files} from the last commit; commit that, or undo it (`git restore .`, then `dvc checkout`)")
    if not _git("ls-files", LOCK) or not _is_finished():
        raise UserError("the last commit holds no finished run; run `dvc repro` and commit what it changes")


def _is_finished() -> bool:
    """Whether all outputs are up to date, except that the page may not show earlier sweeps yet."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"dvc status failed: {done.stderr.strip()}")
    changed = json.loads(done.stdout)
    return changed in ({}, {"report": [{"changed deps": {str(SWEEPS): "modified"}}]})


def _run_experiment(name: str, key: str, text: str) -> None:
    print(f"{name}: running", flush=True)
    with _restored_workspace():
        status = _dvc("exp", "run", "--name", name, "--set-param", f"{key}={text}")
    if status:
        raise UserError(f"{name} failed; see the output above, fix the cause and run the same command to resume")


@contextmanager
def _restored_workspace() -> Iterator[None]:
    """Restores params.yaml and all outputs to the last commit after the block, even if it fails."""
    try:
        yield
    finally:
        outs = _outs(Path(LOCK).read_text(encoding="utf-8"))
        _git("restore", "--source=HEAD", "--staged", "--worktree", "--", *_WITHOUT_TABLES)
        # DVC does not remove files of names that are no longer listed, and stages that read their folder would rerun.
        for path in map(Path, outs - _outs(_git("show", f"HEAD:{LOCK}"))):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if _dvc("checkout", "--force", "--quiet"):
            raise UserError("the outputs could not be restored; run `dvc checkout` to see why")


def _outs(lock: str) -> set[str]:
    stages = YAML(typ="safe").load(lock)["stages"]
    return {out["path"] for stage in stages.values() for out in stage.get("outs", ())}


def _write_table(key: str, refs: dict[str, str]) -> Path:
    rows: list[tuple[object, ...]] = []
    for text, ref in refs.items():
        for model in YAML(typ="safe").load(_git("show", f"{ref}:{PARAMS}"))["models"]:
            metrics = json.loads(_git("show", f"{ref}:reports/metrics/{model}.json"))
            rows += settings.sweep_rows(text, model, metrics)
    path = SWEEPS / f"{key}.csv"
    with atomic_file(path) as temporary:
        pl.DataFrame(rows, schema=dict(SWEEP_COLUMNS), orient="row").write_csv(temporary)
    return path


def _ref(commit: str, name: str) -> str:
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def _git(*arguments: str) -> str:
    """The output of a git command.

    Raises:
        UserError: the command failed.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _dvc(*arguments: str) -> int:
    """The exit status of a DVC command; a signal to stop is passed on to DVC and its stage, and waits for them."""
    # DVC starts stages as `python`, which has to be this interpreter.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = [sys.executable, "-m", "dvc", *arguments]
    # In its own process group, so that a signal reaches DVC once and not also through the terminal.
    child = subprocess.Popen(command, env=os.environ | {"PATH": path}, start_new_session=True)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return child.wait()
    except (KeyboardInterrupt, Interrupted):
        _interrupt(child)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    """Interrupts the child and waits for it; further signals interrupt it again, because a stage may ignore one."""
    while child.poll() is None:
        os.killpg(child.pid, signal.SIGINT)
        with suppress(KeyboardInterrupt, Interrupted):
            child.wait()


def _stop(number: int, frame: object) -> NoReturn:
    raise Interrupted(signal.Signals(number))
