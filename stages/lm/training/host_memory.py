"""How much memory this machine has left."""

from pathlib import Path

import psutil

_GROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int:
    """Memory that a process can still take: of the machine, or of the container where that has a lower limit."""
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        kept = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return free
    # Files that the system only keeps in mind give way.
    return min(free, limit - used + int(kept["inactive_file"]))
