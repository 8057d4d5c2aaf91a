"""Where students go: the arithmetic of cores, GPUs and memory, before anything is asked of Ray.

A placement group that can never fit would stay pending for ever, so what does not fit is refused
here, with the numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cohort.errors import ConfigError

STUDENTS_PER_CORE = 8
"""More students than this on one core would spend their time waiting for one another."""
PROCESS_BYTES = 600 * 2**20
"""Resident size of a Python process that has imported Ray and torch."""
BYTES_PER_PARAMETER = 4 * 4
"""Weight, gradient and up to two optimiser moments, in float32."""


@dataclass(frozen=True)
class Node:
    """What one node of the cluster has in total."""

    cpus: float
    gpus: float
    memory: float
    """Bytes."""


@dataclass(frozen=True)
class Share:
    """What each student gets. A share is never more than one core or one GPU."""

    cpus: float
    gpus: float
    notice: str | None = None
    """A sentence for the user if students share a core or a GPU."""

    @property
    def device(self) -> str:
        """Where the student's network lives."""
        return "cuda" if self.gpus else "cpu"

    def resources(self) -> dict[str, float]:
        """The bundle to ask of Ray."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})

    def divided(self, cohorts: int) -> "Share":
        """A student's share where several cohorts stand by and one of them trains at a time."""
        return Share(_floor(self.cpus / cohorts), _floor(self.gpus / cohorts), self.notice)


def share_out(nodes: Sequence[Node], k: int, gpus: int | None, largest_network: int) -> Share:
    """Each student's share of the cluster.

    ``gpus`` is the cohort's total, None for all there are; ``largest_network`` counts parameters.
    Raises ConfigError, saying what would fit, if the cluster has too few GPUs, cores or memory.
    """
    available = sum(int(node.gpus) for node in nodes)
    if gpus is not None and gpus > available:
        raise ConfigError(
            f"--gpus is {gpus}, but the cluster has {available}; "
            f"use --gpus {available} or fewer, or --address of a larger cluster"
        )
    used = min(available if gpus is None else gpus, k)
    per_gpu = math.ceil(k / used) if used else 0
    per_core = _students_per_core(nodes, k, per_gpu)
    _check_memory(nodes, k, largest_network)
    return Share(_part(per_core), _part(per_gpu) if per_gpu else 0.0, _notice(per_core, per_gpu))


def _check_memory(nodes: Sequence[Node], k: int, largest_network: int) -> None:
    need = PROCESS_BYTES + BYTES_PER_PARAMETER * largest_network
    fit = sum(int(node.memory / need) for node in nodes)
    if fit < k:
        raise ConfigError(
            f"--k is {k}, but the cluster's memory holds {fit} students of "
            f"{need / 2**30:.1f} GiB or more each; use --k {fit} or fewer, or smaller networks"
        )


def _students_per_core(nodes: Sequence[Node], k: int, per_gpu: int) -> int:
    """The fewest students that must share a core so that K fit, node by node."""

    def fit(per_core: int) -> int:
        return sum(
            min(int(node.cpus * per_core), int(node.gpus * per_gpu) if per_gpu else k)
            for node in nodes
        )

    for per_core in range(1, STUDENTS_PER_CORE + 1):
        if fit(per_core) >= k:
            return per_core
    most = fit(STUDENTS_PER_CORE)
    cores = sum(node.cpus for node in nodes)
    raise ConfigError(
        f"--k is {k}, but the cluster's {cores:g} cores place at most {most} students "
        f"({STUDENTS_PER_CORE} a core); use --k {most} or fewer, or --address of a larger cluster"
    )


def _part(students: int) -> float:
    """One student's part of a unit, so that all fit."""
    return _floor(1 / students)


def _floor(amount: float) -> float:
    """Rounded down to Ray's granularity."""
    return math.floor(amount * 10_000) / 10_000


def _notice(per_core: int, per_gpu: int) -> str | None:
    if per_gpu > 1:
        return f"up to {per_gpu} students share a GPU"
    if per_core > 1:
        return f"up to {per_core} students share a core; more cores would be faster"
    return None
