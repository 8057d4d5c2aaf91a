"""How long networks take for one image: all in turns, so that none is slower for coming first.

A network that runs after another finds its weights in no cache, and a machine that is busy for a
second slows whoever runs then. So in every round all take a turn, in random order.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from cohort.analysis.cost import ImageShape
from cohort.analysis.turns import seconds_of, time_rounds
from cohort.learning.evaluation import evaluating
from cohort.reporting.formatting import number

CALLS = 5
"""Calls that a turn is timed over, after one that is not and that brings the weights near."""
WARMUP_ROUNDS = 2
SEED = 0
"""Of the image, and of the order of turns."""

Name = TypeVar("Name")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time for one image: median and quartiles over the rounds, in milliseconds."""

    median_ms: float
    low_ms: float
    high_ms: float

    def __str__(self) -> str:
        low, median, high = (
            number(ms, ".2f") for ms in (self.low_ms, self.median_ms, self.high_ms)
        )
        return f"{median} [{low}, {high}]"

    def line(self) -> dict[str, float]:
        """Under the names that a line of an evaluation has them by."""
        return {
            "latency_ms": self.median_ms,
            "latency_low_ms": self.low_ms,
            "latency_high_ms": self.high_ms,
        }


@torch.no_grad()
def measure_latencies(
    networks: Mapping[Name, tuple[nn.Module, ImageShape]], rounds: int, device: torch.device
) -> dict[Name, Latency]:
    """Measured times of networks that are on ``device``, each with the shape of the image that it takes."""
    generator = torch.Generator().manual_seed(SEED)
    with ExitStack() as stack:
        for network, _ in networks.values():
            stack.enter_context(evaluating(network))
        turns = {
            name: partial(_turn, network, torch.rand(1, *shape, generator=generator).to(device))
            for name, (network, shape) in networks.items()
        }
        took = time_rounds(turns, rounds=rounds, steps=CALLS, seed=SEED, warmup=WARMUP_ROUNDS)
    return {name: _of(times) for name, times in took.items()}


def _turn(network: nn.Module, image_1CHW: Tensor, steps: range) -> float:
    """Milliseconds of a call."""

    def work() -> None:
        for _ in steps:
            network(image_1CHW)

    network(image_1CHW)
    return 1000 * seconds_of(work, image_1CHW.device) / len(steps)


def _of(times: list[float]) -> Latency:
    at = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    low, median, high = torch.tensor(times, dtype=torch.float64).quantile(at).tolist()
    return Latency(median_ms=median, low_ms=low, high_ms=high)
