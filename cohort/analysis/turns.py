"""How times are taken that are to be compared: in turns, in random order, until everything is computed.

Speeds of two separate runs, and even of two processes that do the same, differ by more than what is
compared does. So everything takes turns in one process, and times are compared round by round.
"""

import random
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

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
