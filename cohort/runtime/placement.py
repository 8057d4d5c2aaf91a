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
    """Bytes that Ray may give away."""


@dataclass(frozen=True)
class Share:
    """What each student gets. A share is never more than one core or one GPU."""

    cpus: float
    gpus: float
    memory: int = 0
    """Bytes that a student takes at the least."""
    notice: str | None = None
    """A sentence for the user if students share a core or a GPU."""

    @property
    def device(self) -> str:
        """Where the student's network lives."""
        return "cuda" if self.gpus else "cpu"

    def resources(self) -> dict[str, float]:
        """The bundle to ask of Ray for one student."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory)}
        return {name: amount for name, amount in wanted.items() if amount}


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
    memory = PROCESS_BYTES + BYTES_PER_PARAMETER * largest_network
    total = available if gpus is None else gpus
    share = _share(nodes, k, total, memory)
    if share is None:
        fitting = (n for n in range(k - 1, 0, -1) if _share(nodes, n, total, memory))
        raise ConfigError(_refusal(nodes, k, next(fitting, 0), _per_gpu(k, total), memory))
    return share


def _share(nodes: Sequence[Node], k: int, gpus: int, memory: int) -> Share | None:
    """A share for each of ``k`` students, with as few on a core as can be; None if they do not fit."""
    per_gpu = _per_gpu(k, gpus)
    for per_core in range(1, STUDENTS_PER_CORE + 1):
        if _places(nodes, per_core, per_gpu, memory) >= k:
            gpu = _part(per_gpu) if per_gpu else 0.0
            return Share(_part(per_core), gpu, memory, _notice(per_core, per_gpu))
    return None


def _per_gpu(k: int, gpus: int) -> int:
    """Students on a GPU; 0 without GPUs."""
    used = min(gpus, k)
    return math.ceil(k / used) if used else 0


def _places(nodes: Sequence[Node], per_core: int, per_gpu: int, memory: int) -> int:
    """How many students fit, node by node; ``per_gpu`` and ``memory`` of 0 set no limit."""
    return sum(
        min(
            [int(node.cpus * per_core)]
            + ([int(node.gpus * per_gpu)] if per_gpu else [])
            + ([int(node.memory / memory)] if memory else [])
        )
        for node in nodes
    )


def _refusal(nodes: Sequence[Node], k: int, most: int, per_gpu: int, memory: int) -> str:
    """The sentence for a cohort that does not fit, with what would."""
    advice = f"use --k {most} or fewer" if most else "no student fits"
    if _places(nodes, STUDENTS_PER_CORE, per_gpu, 0) >= k:
        return (
            f"--k is {k}, but the cluster's memory holds {most} students of "
            f"{memory / 2**30:.1f} GiB or more each; {advice}, or take smaller networks"
        )
    cores, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    units = f"{cores:g} cores" + (f" and {gpus:g} GPUs" if per_gpu else "")
    return (
        f"--k is {k}, but the cluster's {units} place at most {most} students "
        f"({STUDENTS_PER_CORE} a core); {advice}, or --address of a larger cluster"
    )


def _part(students: int) -> float:
    """One student's part of a unit, rounded down to Ray's granularity so that all fit."""
    return math.floor(10_000 / students) / 10_000


def _notice(per_core: int, per_gpu: int) -> str | None:
    if per_gpu > 1:
        return f"up to {per_gpu} students share a GPU"
    if per_core > 1:
        return f"up to {per_core} students share a core; more cores would be faster"
    return None
