"""What this machine has, as far as it can be known before anything is taken of it."""

import os
from pathlib import Path

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container says how much memory it has."""


def memory() -> int:
    """Bytes of this machine, or of the container that this process runs in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [Path(file).read_text("ascii").strip() for file in LIMITS if Path(file).is_file()]
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def cores() -> int:
    """Cores for torch's threads in this process: those of the machine, or as ``OMP_NUM_THREADS`` says."""
    there = os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(asked)) if asked.isdecimal() and int(asked) else there


def gib(size: float) -> str:
    """Bytes as they stand in a sentence.

    Example:
        >>> gib(3 * 2**29)
        '1.5 GiB'
    """
    return f"{size / 2**30:,.1f} GiB"
