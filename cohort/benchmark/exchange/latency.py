"""How long an exchange takes by itself: hosts that compute nothing, beside a bare ``all_gather``."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from cohort.analysis.turns import time_rounds
from cohort.benchmark.exchange.config import BenchConfig
from cohort.errors import ConfigError
from cohort.runtime.exchange import Exchange, NoExchange, choose_exchange
from cohort.runtime.idle import IdleHosts
from cohort.runtime.placement import share_out
from cohort.runtime.reservation import reserved
from cohort.runtime.session import cluster_nodes, ray_session
from cohort.runtime.wire import Messages

Way = Literal["all_gather", "collective", "object_store"]
EXCHANGES: tuple[Literal["collective", "object_store"], ...] = ("collective", "object_store")
WAYS: tuple[Way, ...] = ("all_gather", *EXCHANGES)
"""The first one is what the others are compared with."""
Steps = npt.NDArray[np.float64]
"""Seconds from one step to the next, as the first host sees them."""


@dataclass(frozen=True)
class Latencies:
    """Of one size of posteriors."""

    seconds: dict[Way, list[Steps]]
    """Round by round."""
    bytes_a_student: dict[Way, float]
    """What a student sends in a step, and receives, on average."""


@dataclass(frozen=True)
class Measured:
    """Everything that was measured, by batch and classes."""

    hosts: tuple[int, ...]
    """Students of each process."""
    latencies: dict[tuple[int, int], Latencies]


def measure(config: BenchConfig) -> Measured:
    """Run the benchmark. Raises ConfigError if the cohort does not fit, or is but one process."""
    with ray_session():
        division = share_out(
            cluster_nodes(), config.k, 0, 0, threads=config.threads, per_process=config.per_process
        )
        if len(division.hosts) == 1:
            raise ConfigError(
                f"--k is {config.k} with --latency, but all students share one process, and nothing is "
                "exchanged; use --per-process 1"
            )
        with reserved(division) as places, closing(IdleHosts(places)) as idle:
            return Measured(
                idle.sizes, {size: _of_size(config, idle, size) for size in config.sizes}
            )


def _of_size(config: BenchConfig, idle: IdleHosts, size: tuple[int, int]) -> Latencies:
    places = idle.show(*size)
    turns: dict[Way, Callable[[range], Steps]] = {WAYS[0]: partial(_gather, idle)}
    messages: dict[Way, Messages] = {WAYS[0]: Messages()}
    for way in EXCHANGES:
        cohort = dataclasses.replace(config.cohort(way, gpus=0), batch_size=size[0])
        exchange = choose_exchange(cohort, idle.sizes, size[1])
        assert not isinstance(exchange, NoExchange)
        exchange.open(idle.hosts, places)
        turns[way], messages[way] = partial(_advance, idle, exchange), exchange.messages
    seconds = time_rounds(
        turns,
        rounds=config.rounds,
        steps=config.steps_per_round,
        seed=config.seed,
        warmup=config.warmup_rounds,
    )
    return Latencies(seconds, {way: traffic(messages[way], idle.sizes, *size) for way in WAYS})


def _gather(idle: IdleHosts, numbers: range) -> Steps:
    idle.gather(len(numbers))
    return np.diff(idle.moments())


def _advance(idle: IdleHosts, exchange: Exchange, numbers: range) -> Steps:
    exchange.advance(
        idle.hosts, numbers.start, numbers.stop, lambda k, records: None, lambda: False
    )
    return np.diff(idle.moments())


def traffic(messages: Messages, sizes: Sequence[int], batch: int, classes: int) -> float:
    """Bytes a step that a student sends, on average, each process to each; so it receives as many."""
    width = classes + (messages.summed and messages.teacher == "peers")
    each = batch * width * (2 if messages.half else 4)
    sent = [messages.rows(students) * each * (len(sizes) - 1) for students in sizes]
    return sum(sent) / sum(sizes)
