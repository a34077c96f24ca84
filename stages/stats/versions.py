"""The versions that belong to a set of measures: code revision, machine, packages, suites and measures.

Numbers of two runs can be compared if the versions of their suites and measures are equal. The other versions help to
find out why two numbers differ.
"""

import os
import platform
import subprocess
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from stages.stats.measures import HEADLINE

# The packages that answers and measures depend on. Their versions are read without importing them.
PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "polars", "numpy", "tokenizers", "datasets", "dvc",
)  # fmt: skip
# Outputs in git are excluded: DVC removes a stage's outputs before it runs the stage, so they differ in every run.
_WITHOUT_OUTPUTS = (".", ":(exclude)reports", ":(exclude)dvc.lock")


def versions(suites: Mapping[str, int], measures: Collection[str]) -> dict[str, Any]:
    """The versions for the named measures; `suites` has the versions of the suites by name."""
    return {
        "candor": version_of("candor"),
        "revision": revision(),
        "python": platform.python_version(),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        "packages": {name: version_of(name) for name in PACKAGES},
        "suites": dict(suites),
        "measures": {measure.name: measure.version for measure in HEADLINE if measure.name in measures},
    }


def version_of(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def revision() -> str | None:
    """The git commit of this folder, with `-dirty` if tracked code or params differ from it; None without git."""
    commit = _git("rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    return commit + ("-dirty" if _git("diff", "--name-only", "HEAD", "--", *_WITHOUT_OUTPUTS) else "")


def _git(*arguments: str) -> str | None:
    """The output of a git command; None if it fails or git is not installed."""
    # Without the optional lock of the index, this does not disturb another git command at the same time.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str | None:
    """The processor's name, or None if the system does not report it."""
    # `platform.processor()` is empty on Linux.
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or None
