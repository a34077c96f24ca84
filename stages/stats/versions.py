"""What measures were computed with: the code's revision, the machine, the packages, and the versions of what was asked.

Numbers of two runs can be compared where the versions of their suites and measures are equal. Everything else here
helps to find out why two numbers differ.
"""

import os
import platform
import subprocess
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from stages.stats.measures import HEADLINE

# Those that answers and measures depend on. Their versions are read without importing them: measuring needs no jax.
PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "polars", "numpy", "tokenizers", "datasets", "dvc",
)  # fmt: skip
# DVC removes a stage's outputs before it runs the stage, so that those in git differ from the commit in every run.
_BUT_OUTPUTS = (".", ":(exclude)reports", ":(exclude)dvc.lock")


def versions(suites: Mapping[str, int], measures: Collection[str]) -> dict[str, Any]:
    """The versions behind the named measures, whose questions are of `suites` (by name, with their versions)."""
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
    """The commit that this folder is at, with `-dirty` where code or params differ from it; None outside of git."""
    commit = _git("rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    return commit + ("-dirty" if _git("diff", "--name-only", "HEAD", "--", *_BUT_OUTPUTS) else "")


def _git(*arguments: str) -> str | None:
    """What git writes; None where it fails or is not installed."""
    # Without the lock that git takes to refresh its index, another git command at the same time is not disturbed.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str | None:
    """The processor's name, or None where the system does not tell it."""
    # Python does not find the name on Linux.
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or None
