"""Shares compiled JAX programs among all processes of a test run, and with later runs.

Tests compile the same few hundred small programs again and again. With JAX's compilation cache one process compiles a
program and the others load it. An entry's name is a hash of the program, the compiler options, the versions of JAX and
XLA and the kind of device. So a changed program has another entry, and a loaded program is the one that was compiled.

JAX writes entries in place, and a process that is killed can leave half of one. Tests that stop processes therefore
start them with ADDS_NONE. In addition, each run has a folder of its own, and its entries are kept for later runs only
if all tests passed.
"""

import os
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

FOLDER, KEPT_FROM_SECONDS = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
# XLA's caches for GPUs: their paths would become part of an entry's name.
XLA_CACHES = "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"
VARIABLES = (FOLDER, KEPT_FROM_SECONDS, XLA_CACHES)

# For processes that a test may stop at any moment: they load programs and add none.
ADDS_NONE = {KEPT_FROM_SECONDS: "1e9"}
# For processes that measure what compiling costs.
COMPILES_ALL = {"JAX_ENABLE_COMPILATION_CACHE": "false"}

# Above this, the entries of earlier runs are removed: most of them are of code that has changed.
MOST_BYTES = 2**29


def begin(kept: Path) -> Path:
    """Sets the variables for this process and its children; a run's folder starts with the entries in `kept`."""
    assert "jax" not in sys.modules, "JAX reads the variables when it is imported"
    kept.mkdir(parents=True, exist_ok=True)
    entries = [*kept.iterdir()]
    if sum(entry.stat().st_size for entry in entries) > MOST_BYTES:
        shutil.rmtree(kept)
        entries = []
    folder = Path(mkdtemp(prefix="run-", dir=kept.parent))
    for entry in entries:
        os.link(entry, folder / entry.name)
    os.environ |= {FOLDER: str(folder), KEPT_FROM_SECONDS: "0", XLA_CACHES: "none"}
    return folder


def keep(folder: Path, kept: Path) -> None:
    """Adds the entries of a run's folder to `kept`, each of them whole."""
    kept.mkdir(exist_ok=True)
    for entry in folder.iterdir():
        if not (kept / entry.name).exists():
            entry.replace(kept / entry.name)
