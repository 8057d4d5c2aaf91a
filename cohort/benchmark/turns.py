"""What benchmarks in one process share: whose turn it is, on which device, with how many threads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from cohort.errors import ConfigError

Name = TypeVar("Name")


def turns(names: Sequence[Name], rounds: int) -> Iterator[tuple[int, Name]]:
    """(round, name) for all names in so many rounds; each round begins with another name.

    Example:
        >>> list(turns("ab", 2))
        [(0, 'a'), (0, 'b'), (1, 'b'), (1, 'a')]
    """
    for turn in range(rounds):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            yield turn, name


def device_for(gpus: int | None) -> torch.device:
    """The CPU for 0; for None the GPU if there is one. Raises ConfigError for 1 if there is none."""
    available = min(torch.cuda.device_count(), 1)
    if (gpus or 0) > available:
        raise ConfigError(f"--gpus is {gpus}, but this machine has none; use --gpus 0")
    return torch.device("cuda" if (available if gpus is None else gpus) else "cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many torch threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def wait(device: torch.device) -> None:
    """Until everything is computed."""
    if device.type == "cuda":  # a call returns before its kernels have run
        torch.cuda.synchronize(device)
