"""Where students go: the arithmetic of cores, GPUs and memory, before anything is asked of Ray.

Students that share a device are one process, a host: a GPU's, or those of one core, or of as many
cores as they have torch threads. A placement group that can never fit would stay pending for ever,
so what does not fit is refused here, with the numbers.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cohort.errors import ConfigError
from cohort.machine import gib, memory

STUDENTS_PER_CORE = 8
"""More students than this on one core would spend their time waiting for one another."""
STUDENTS_PER_GPU = 256
"""The same of a GPU, whose memory sets the real limit."""
DECODERS_PER_CORE = 8
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


def this_machine() -> Node:
    """What a process here may use without Ray, and the most that a Ray started here would have."""
    import torch  # arithmetic does without

    return Node(cpus=os.cpu_count() or 1, gpus=torch.cuda.device_count(), memory=memory())


@dataclass(frozen=True)
class Share:
    """What a process gets: never more than one GPU, and cores for its threads at the most."""

    cpus: float
    gpus: float
    memory: int = 0
    """Bytes that it takes at the least."""

    @property
    def device(self) -> str:
        """Where networks live in it."""
        return "cuda" if self.gpus else "cpu"

    def resources(self) -> dict[str, float]:
        """The bundle to ask of Ray for one process."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory)}
        return {name: amount for name, amount in wanted.items() if amount}


@dataclass(frozen=True)
class Division:
    """Which students share a process, and what each process gets."""

    hosts: tuple[tuple[int, ...], ...]
    """Numbers of each host's students, in order; hosts differ by one student at most, if not by cost."""
    share: Share
    """Of each host."""
    threads: int
    """Torch threads of each host on the CPU."""
    notice: str | None = None
    """A sentence for the user if students share a core or a GPU."""
    by_cost: tuple[tuple[Share, int], ...] = ()
    """With ``--balance``, the share and the threads of each host instead."""

    @property
    def students(self) -> int:
        """How many there are."""
        return sum(map(len, self.hosts))

    @property
    def shares(self) -> tuple[tuple[Share, int], ...]:
        """What each host gets, and its torch threads."""
        return self.by_cost or ((self.share, self.threads),) * len(self.hosts)


def share_out(
    nodes: Sequence[Node],
    k: int,
    gpus: int | None,
    largest_network: int,
    *,
    threads: int | None = None,
    per_process: int | None = None,
) -> Division:
    """How K students are divided among the cluster's devices.

    Args:
        nodes: of the cluster.
        k: students.
        gpus: the cohort's total, None for all there are.
        largest_network: counts parameters.
        threads: torch threads of each host; None for cores / K, at least 1, however the students are
            divided, so that the division changes no bit of them.
        per_process: at most so many students in a process; None for all that share a device.

    Raises ConfigError, saying what would fit, if the cluster has too few GPUs, cores or memory.
    """
    available = sum(int(node.gpus) for node in nodes)
    if gpus is not None and gpus > available:
        raise ConfigError(
            f"--gpus is {gpus}, but the cluster has {available}; "
            f"use --gpus {available} or fewer, or --address of a larger cluster"
        )
    check_threads(nodes, threads)
    request = _Request(
        nodes, available if gpus is None else gpus, largest_network, threads, per_process
    )
    division = request.divided(k)
    if division is None:
        fitting = (n for n in range(min(k - 1, request.bound), 0, -1) if request.divided(n))
        raise ConfigError(request.refusal(k, next(fitting, 0)))
    return division


def check_threads(nodes: Sequence[Node], threads: int | None, decoders: int | None = None) -> None:
    """Raise ConfigError for more threads than the largest node can use: torch's, or decoding ones.

    Decoding threads wait for files too, so a core may have several.
    """
    cores = max([1, *(int(node.cpus) for node in nodes)])
    of_cores = f"of the {cores} core{'s' * (cores > 1)} that run them"
    if threads is not None and threads > cores:
        raise ConfigError(
            f"--threads is {threads}, more than one for each {of_cores}; use {cores} or fewer"
        )
    if decoders is not None and decoders > DECODERS_PER_CORE * cores:
        raise ConfigError(
            f"--decoders is {decoders}, more than {DECODERS_PER_CORE} for each {of_cores}; use "
            f"{DECODERS_PER_CORE * cores} or fewer"
        )


def contiguous(k: int, hosts: int) -> tuple[tuple[int, ...], ...]:
    """Students 0 to K-1 in so many parts, the larger ones first."""
    each, more = divmod(k, hosts)
    starts = [host * each + min(host, more) for host in range(hosts + 1)]
    return tuple(tuple(range(a, b)) for a, b in pairwise(starts))


@dataclass(frozen=True)
class _Request:
    """What ``share_out`` is asked, but for the number of students."""

    nodes: Sequence[Node]
    gpus: int
    largest_network: int
    threads: int | None
    per_process: int | None

    def divided(self, k: int) -> Division | None:
        """K students in hosts, with as few hosts on a core as can be; None if they do not fit."""
        threads = self.threads or _threads_for(self.nodes, k)
        cores = 1 if self.gpus else threads
        for per_core in range(1, STUDENTS_PER_CORE + 1):
            for hosts in self._counts(k, int(_places(self.nodes, cores / per_core))):
                limit = STUDENTS_PER_GPU if self.gpus else STUDENTS_PER_CORE * cores
                if math.ceil(k / hosts) * per_core > limit:
                    continue
                share = self._share(k, hosts, cores, per_core)
                if _places(self.nodes, cores / per_core, share) >= hosts:
                    notice = _notice(k, hosts, per_core, bool(self.gpus))
                    return Division(contiguous(k, hosts), share, threads, notice)
        return None

    @property
    def bound(self) -> int:
        """More students than this never fit, memory aside."""
        cores = sum(node.cpus for node in self.nodes)
        return int(cores * (STUDENTS_PER_GPU if self.gpus else STUDENTS_PER_CORE))

    def _counts(self, k: int, places: int) -> Iterator[int]:
        """Numbers of hosts to try, the best first."""
        if self.per_process:
            yield math.ceil(k / self.per_process)
        elif self.gpus:
            yield min(self.gpus, k)
        else:
            yield from range(min(k, places), 0, -1)

    def _share(self, k: int, hosts: int, cores: int, per_core: int) -> Share:
        memory = PROCESS_BYTES + math.ceil(k / hosts) * BYTES_PER_PARAMETER * self.largest_network
        per_gpu = math.ceil(hosts / min(self.gpus, hosts)) if self.gpus else 0
        return Share(_part(cores, per_core), _part(1, per_gpu) if per_gpu else 0.0, memory)

    def refusal(self, k: int, most: int) -> str:
        """The sentence for a cohort that does not fit, with what would."""
        advice = f"use --k {most} or fewer" if most else "no student fits"
        within = f" with --per-process {self.per_process}" if self.per_process else ""
        if other := self._other_per_process(k):
            advice += f", or --per-process {other}"
        boundless = [replace(node, memory=math.inf) for node in self.nodes]
        if replace(self, nodes=boundless).divided(k):
            each = PROCESS_BYTES + BYTES_PER_PARAMETER * self.largest_network
            return (
                f"--k is {k}, but the cluster's memory holds {most} students, a process of which takes "
                f"{gib(each)} or more; {advice}, or take smaller networks"
            )
        cores, gpus = sum(node.cpus for node in self.nodes), sum(node.gpus for node in self.nodes)
        units = f"{cores:g} cores" + (f" and {gpus:g} GPUs" if self.gpus else "")
        return (
            f"--k is {k}, but the cluster's {units} place at most {most} students{within} "
            f"({STUDENTS_PER_CORE} a core); {advice}, or --address of a larger cluster"
        )

    def _other_per_process(self, k: int) -> int | None:
        """The number of students in a process, nearest to what is asked, with which K of them fit."""
        if not self.per_process or k > self.bound:
            return None
        near = sorted(
            range(1, min(k, STUDENTS_PER_GPU) + 1), key=lambda n: abs(n - (self.per_process or 0))
        )
        return next((n for n in near if replace(self, per_process=n).divided(k)), None)


def _threads_for(nodes: Sequence[Node], k: int) -> int:
    """As many torch threads for each of K students as the cores of their nodes allow, at least 1."""
    cores = int(sum(node.cpus for node in nodes))
    fitting = (n for n in range(cores // k, 1, -1) if _places(nodes, n) >= k)
    return next(fitting, 1)


def _places(nodes: Sequence[Node], cores: float, share: Share | None = None) -> int:
    """How many hosts of so many cores fit, node by node; of a share, by its GPU and memory too."""
    gpus, memory = (share.gpus, share.memory) if share else (0.0, 0)
    return sum(
        min(
            [int(node.cpus / cores + 1e-6)]
            + ([int(node.gpus) * int(1 / gpus + 1e-3)] if gpus else [])
            + ([int(min(node.memory / memory, 1e9))] if memory else [])
        )
        for node in nodes
    )


def _part(cores: int, hosts: int) -> float:
    """One host's part of some cores, rounded down to Ray's granularity so that all fit."""
    return math.floor(10_000 * cores / hosts) / 10_000


def _notice(k: int, hosts: int, per_core: int, on_gpu: bool) -> str | None:
    each = math.ceil(k / hosts)
    if on_gpu:
        return None if each == 1 else f"up to {each} students share a GPU"
    if each * per_core == 1:
        return None
    uneven = ", of which some wait for others" if k % hosts else ""
    return f"up to {each * per_core} students share a core{uneven}; more cores would be faster"
