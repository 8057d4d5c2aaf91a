"""How a benchmark times what it compares: in turns, on which device, with how many threads.

Speeds of two separate runs, and even of two processes that do the same, differ by more than what is
compared does. So everything takes turns in one process, and times are compared round by round.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch

from cohort.benchmark.config import Timing
from cohort.errors import ConfigError
from cohort.learning.precision import check_device
from cohort.learning.process import lent_process

Name = TypeVar("Name")
Took = TypeVar("Took")


def time_rounds(
    players: Mapping[Name, Callable[[range], Took]],
    *,
    rounds: int,
    steps: int,
    seed: int,
    warmup: int = 1,
) -> dict[Name, list[Took]]:
    """What every player's turns took, round by round, without the first rounds, which warm up.

    A player is called with the numbers of the ``steps`` steps that its turn has, which go on from
    round to round, and says what they took. The order of the players is drawn anew for each round.
    """
    order, draw = list(players), random.Random(seed)
    took: dict[Name, list[Took]] = {name: [] for name in players}
    for turn in range(warmup + rounds):
        draw.shuffle(order)
        for name in order:
            found = players[name](range(turn * steps, (turn + 1) * steps))
            if turn >= warmup:
                took[name].append(found)
    return took


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """How long some work takes, until everything is computed."""
    wait(device)
    begin = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begin


def wait(device: torch.device) -> None:
    """Return when everything is computed."""
    if device.type == "cuda":  # a call returns before its kernels have run
        torch.cuda.synchronize(device)


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
