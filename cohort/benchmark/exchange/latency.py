"""How long an exchange takes by itself: hosts that compute nothing, beside a bare ``all_gather``."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from cohort.benchmark.exchange.config import BenchConfig
from cohort.benchmark.exchange.idle import IdleActor
from cohort.benchmark.turns import time_rounds
from cohort.errors import ConfigError
from cohort.runtime.exchange import Exchange, Hosts, Places, choose_exchange
from cohort.runtime.placement import Division, share_out
from cohort.runtime.reservation import Reservation, reserved
from cohort.runtime.session import cluster_nodes, ray_session
from cohort.runtime.wire import Messages

Way = Literal["all_gather", "collective", "object_store"]
WAYS: tuple[Way, ...] = ("all_gather", "collective", "object_store")
"""The first one is what the others are compared with."""
Steps = npt.NDArray[np.float64]
"""Seconds from one step to the next, as the first host sees them."""

RemoteIdle = ray.remote(max_restarts=0)(IdleActor)


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
        sizes = tuple(map(len, division.hosts))
        if len(sizes) == 1:
            raise ConfigError(
                f"--k is {config.k} with --latency, but all students share one process, and nothing is "
                "exchanged; use --per-process 1"
            )
        with reserved(division) as places:
            hosts = _started(places)
            latencies = {size: _of_size(config, hosts, division, size) for size in config.sizes}
            for host in hosts:
                ray.kill(cast("Any", host))
    return Measured(sizes, latencies)


def _started(places: Reservation) -> list[Any]:
    threads, share = places.division.threads, places.division.share
    return [
        RemoteIdle.options(
            num_cpus=share.cpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(places.group, host),
        ).remote(threads, "cpu")
        for host in range(len(places.division.hosts))
    ]


def _of_size(
    config: BenchConfig, hosts: list[Any], division: Division, size: tuple[int, int]
) -> Latencies:
    sizes = [len(students) for students in division.hosts]
    ray.get([host.idle.remote(n, *size) for host, n in zip(hosts, sizes, strict=True)])
    where = ray.get([host.whereabouts.remote() for host in hosts])
    places = [{**p, "students": here} for p, here in zip(where, division.hosts, strict=True)]
    ways = {way: _exchange(config, way, sizes, size, hosts, places) for way in WAYS[1:]}
    turns: dict[Way, Callable[[range], Steps]] = {
        "all_gather": partial(_gather, hosts, max(sizes)),
        **{way: partial(_advance, exchange, hosts) for way, exchange in ways.items()},
    }
    seconds = time_rounds(
        turns,
        rounds=config.rounds,
        steps=config.steps_per_round,
        seed=config.seed,
        warmup=config.warmup_rounds,
    )
    messages: dict[Way, Messages] = {
        "all_gather": Messages(),
        **{way: e.messages for way, e in ways.items()},
    }
    return Latencies(seconds, {way: traffic(messages[way], sizes, *size) for way in WAYS})


def _exchange(
    config: BenchConfig,
    way: Way,
    sizes: Sequence[int],
    size: tuple[int, int],
    hosts: Any,
    places: Places,
) -> Any:
    """One that is open, between hosts that show posteriors of this size."""
    assert way != "all_gather"
    cohort = dataclasses.replace(config.cohort(way, gpus=0), batch_size=size[0])
    exchange = choose_exchange(cohort, sizes, size[1])
    exchange.open(hosts, places)
    return exchange


def _gather(hosts: Sequence[Any], rows: int, numbers: range) -> Steps:
    ray.get([host.gather.remote(len(numbers), rows) for host in hosts])
    return _steps(hosts)


def _advance(exchange: Exchange, hosts: Hosts, numbers: range) -> Steps:
    exchange.advance(hosts, numbers.start, numbers.stop, lambda k, records: None, lambda: False)
    return _steps(hosts)


def _steps(hosts: Sequence[Any]) -> Steps:
    moments: list[list[float]] = ray.get([host.moments.remote() for host in hosts])
    return np.diff(moments[0])


def traffic(messages: Messages, sizes: Sequence[int], batch: int, classes: int) -> float:
    """Bytes a step that a student sends, on average, each process to each; so it receives as many."""
    width = classes + (messages.summed and messages.teacher == "peers")
    each = batch * width * (2 if messages.half else 4)
    sent = [messages.rows(students) * each * (len(sizes) - 1) for students in sizes]
    return sum(sent) / sum(sizes)
