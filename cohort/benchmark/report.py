"""What the benchmarks' results share: quartiles, and JSON that says on what they were measured."""

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cohort.files import atomic_write, to_json
from cohort.reporting.formatting import number
from cohort.version import versions


def quartiles(values: Any) -> list[float]:
    """25, 50 and 75 %.

    Example:
        >>> quartiles([1, 2, 3, 4, 5])
        [2.0, 3.0, 4.0]
    """
    return [float(q) for q in np.percentile(values, (25, 50, 75))]


def spread(of: Sequence[float], form: str) -> str:
    """Quartiles for people: the median, and the others in brackets.

    Example:
        >>> spread([2.0, 3.0, 4.0], ".1f")
        '3.0 [2.0, 4.0]'
    """
    low, median, high = (number(q, form) for q in of)
    return f"{median} [{low}, {high}]"


def write_json(path: str | Path, measured: Mapping[str, Any]) -> None:
    """What was measured, with date, commit, hardware and versions."""
    values = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "hardware": hardware(),
        "versions": versions(),
        **measured,
    }
    atomic_write(Path(path), to_json(values, indent=1))


def hardware() -> dict[str, Any]:
    """Processor, cores and GPUs of this machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": _cpu_model(), "cores": os.cpu_count(), "gpus": gpus}


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    """Of the code that ran, marked if it was changed since."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
