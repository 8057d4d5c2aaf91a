"""On which device a benchmark runs, with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cohort.benchmark.config import Timing
from cohort.errors import ConfigError
from cohort.learning.precision import check_device
from cohort.learning.process import lent_process


def gpus_for(wanted: int | None, most: int) -> int:
    """``--gpus``, or for None as many as there are up to ``most``; ConfigError if there are fewer."""
    available = torch.cuda.device_count()
    if (wanted or 0) > available:
        raise ConfigError(f"--gpus is {wanted}, but this machine has {available}")
    return min(most, available) if wanted is None else wanted


@contextmanager
def device_for(config: Timing) -> Iterator[torch.device]:
    """The GPU, or for 0, and for None where there is none, the CPU, in a process set up as asked for.

    Raises ConfigError if there are fewer GPUs, or for a precision that the device does not have.
    """
    device = torch.device("cuda" if gpus_for(config.gpus, most=1) else "cpu")
    check_device(config.precision, device)
    with lent_process(config.threads, config.precision):
        yield device
