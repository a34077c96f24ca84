"""A tiny project in a folder of its own: the checkout's pipeline over invented rows and tiny models, run with DVC."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.core.params import read_document
from stages.datasets import registry
from stages.sources import bigbench
from tests.helpers.programs import CHECKOUT, cleared
from tests.miniature.models import write_model
from tests.miniature.rows import TASKS

HERE = Path(__file__).parent
OUTPUTS = ("data", "models", "reports")
# Stages, DVC and git put these files in their places whole and never write into them. All else is a real copy: git's
# logs, DVC's state and the SQLite stores in .candor/ grow in place, and tests write params.yaml.
SHARED = (
    "data", "models/base", "models/checkpoints", "models/tuned", "reports/cards", "reports/index.html",
    "reports/plots", "reports/png", ".dvc/cache", ".git/objects",
)  # fmt: skip
WRITTEN_IN_PLACE = (".keep",)  # git's own among the outputs

COMPILES_QUICKLY = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
)

# The user's own settings of these tools must not reach a test.
_FOREIGN = ("CANDOR_", "DVC_", "GIT_", "PIP_", "PYTHON", "XLA_", "JAX_")

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Project:
    """A project's folder, and how to run it."""

    root: Path

    def dvc(self, *arguments: str, variables: Mapping[str, str] | None = None) -> Done:
        """`dvc` with the interpreter of this test run, its output as text; the caller looks at the exit status."""
        return self.run(sys.executable, "-m", "dvc", *arguments, variables=variables)

    def run(self, *command: str, variables: Mapping[str, str] | None = None, given: str = "") -> Done:
        """A command in the project's folder, in a group of processes of its own, with `given` as its input."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(variables),
            input=given,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )

    def environment(self, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """An environment in which nothing but the project itself is reached."""
        kept = cleared(_FOREIGN)
        return kept | {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), kept["PATH"])),
            "SHELL": "/bin/sh",
            "JAX_PLATFORMS": "cpu",
            # Nearly all the time goes into compiling programs that run for milliseconds.
            "XLA_FLAGS": " ".join(COMPILES_QUICKLY),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            # As an address: pip takes a space in a path for the end of it.
            "PIP_FIND_LINKS": (self.root / "index").as_uri(),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_GLOBAL_CONFIG_DIR": str(self.root / ".dvc" / "tmp" / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.root / ".dvc" / "tmp" / "system"),
            "DVC_SITE_CACHE_DIR": str(self.root / ".dvc" / "tmp" / "site"),
            **(variables or {}),
        }

    def copy(self, folder: Path) -> "Project":
        """The project as it stands, with its outputs, DVC's cache and git's history, in another folder.

        What lies in SHARED is there by hard links, so whoever changes it has to write it anew: a file of the copy that
        is written in place would change the original.
        """
        shutil.copytree(self.root, folder, symlinks=True, copy_function=self._shared_or_copied)
        return Project(folder)

    def _shared_or_copied(self, source: str, target: str) -> None:
        if is_shared(Path(source).relative_to(self.root)):
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    def set(self, key: str, value: object) -> None:
        """Sets a key of params.yaml, such as `finetune.steps`."""
        document = read_document(self.root / "params.yaml")
        *sections, name = key.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[name] = value
        write_yaml(document, self.root / "params.yaml")

    def sums(self, *folders: str) -> dict[str, str]:
        """SHA-256 sum of each file in the folders that hold outputs (or in `folders`), by its path in the project."""
        found = (path for folder in folders or OUTPUTS for path in (self.root / folder).rglob("*"))
        # The adapters that the project ships are no output, nor is the bytecode that Python keeps beside sources.
        none = {"organisms", "__pycache__"}
        files = (path for path in found if path.is_file() and path.name != ".keep" and none.isdisjoint(path.parts))
        return {str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def commit(self, message: str) -> None:
        """Commits all that git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={message}")

    def git(self, *arguments: str) -> str:
        """What `git` writes; it has to succeed."""
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


def is_shared(path: Path) -> bool:
    """Whether a file of a project, by its path in it, is the same file in a copy."""
    return any(path.is_relative_to(folder) for folder in SHARED) and path.name not in WRITTEN_IN_PLACE


def stages_run(done: Done) -> list[str]:
    """The stages that DVC says it ran, in order."""
    return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]


def make(root: Path) -> Project:
    """Makes the miniature in the new folder `root`, committed and not yet run."""
    root.mkdir(parents=True)
    project = Project(root)
    _copy_pipeline(root)
    params = _overlaid(read_document(CHECKOUT / "params.yaml"), read_document(HERE / "params.yaml"))
    write_yaml(params, root / "params.yaml")
    for seed, name in enumerate(("tiny-a", "tiny-b")):
        write_model(root / "own" / name, seed)
    _pin(root, write_archive(root / "index"))
    project.git("init", "--quiet", "--initial-branch=main")
    project.git("config", "user.name", "Nobody")
    project.git("config", "user.email", "nobody@localhost")
    project.commit("The miniature")
    return project


def write_archive(folder: Path) -> Path:
    """Writes the pinned archive with the invented rows into `folder`; equal rows give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _bigbench_pin(read_document(CHECKOUT / "pins.yaml"))["file"]
    # The sets that the miniature does not use are there, since one pass extracts all of them.
    members = dict.fromkeys(registry.MEMBERS, b'{"examples": []}')
    members |= {bigbench.member(task): json.dumps({"examples": rows}).encode() for task, rows in TASKS.items()}
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in sorted(members.items()):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_yaml(document: dict[str, Any], path: Path) -> None:
    """Writes a YAML file."""
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(document, file)


def _copy_pipeline(root: Path) -> None:
    shutil.copytree(CHECKOUT / "stages", root / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    # The cards alone: the miniature's models are its own.
    shutil.copytree(
        CHECKOUT / "models/organisms", root / "models/organisms", ignore=shutil.ignore_patterns("*.safetensors")
    )
    of_dvc = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots/by_source.json")
    for name in (*of_dvc, ".gitignore", "data/instructions/.keep", "reports/sweeps/.keep"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / name, root / name)


def _pin(root: Path, archive: Path) -> None:
    pins = read_document(CHECKOUT / "pins.yaml")
    content = archive.read_bytes()
    _bigbench_pin(pins).update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    write_yaml(pins, root / "pins.yaml")


def _bigbench_pin(pins: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = pins["archives"][bigbench.ARCHIVE]
    return entry


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    sections = {key for key, value in above.items() if isinstance(value, dict) and key != "own_models"}
    return below | {key: {**below[key], **value} if key in sections else value for key, value in above.items()}
