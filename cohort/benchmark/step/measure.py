"""What a step of all students of one process takes, way by way, in turns."""

import gc
from functools import partial

import torch

from cohort.analysis.turns import seconds_of, time_rounds
from cohort.benchmark.device import device_for
from cohort.benchmark.step.config import CohortStepBenchConfig, Way
from cohort.learning.compiling import check_machine
from cohort.learning.host import Host
from cohort.runtime.train import prepare

Seconds = dict[int, dict[Way, list[float]]]
"""Of each number of students and way, how long its steps took, round by round."""


def measure(config: CohortStepBenchConfig) -> Seconds:
    """Run the benchmark.

    Raises ConfigError if a cohort cannot be built as configured, RunError if it cannot be captured.
    """
    with device_for(config) as device:
        return {k: measure_size(config, k, device) for k in config.sizes}


def measure_size(
    config: CohortStepBenchConfig, k: int, device: torch.device
) -> dict[Way, list[float]]:
    """The same for one number of students, who live in every way at once."""
    ways = config.ways(on_gpu=device.type == "cuda")
    players = {way: partial(time_steps, host_of(config, k, way, device)) for way in ways}
    seconds = time_rounds(players, rounds=config.rounds, steps=config.steps, seed=config.seed)
    players.clear()
    gc.collect()  # students and what captures them know each other
    return seconds


def host_of(config: CohortStepBenchConfig, k: int, way: Way, device: torch.device) -> Host:
    """So many students at step 0."""
    on_gpu = device.type == "cuda"
    cohort = config.cohort(k, way, on_gpu=on_gpu)
    check_machine(cohort, on_gpu=on_gpu)
    run = prepare(cohort)
    networks = dict(enumerate(cohort.networks))
    return Host(networks, run.plan, run.dataset, run.objective, device=device)


def time_steps(host: Host, numbers: range) -> float:
    """Seconds for these steps of all students, their batches and records included."""

    def work() -> None:
        for step in numbers:
            host.advance(step, False)

    seconds = seconds_of(work, host.device)
    host.drain()
    return seconds
