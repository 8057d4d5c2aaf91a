"""``--balance``: unlike students divided so that no process makes the others wait longer than need be.

By what the networks cost, which is counted and not timed: the same config on the same cluster is
divided in the same way, and so gives the same students. Students stay in order, so that between
processes travels one stack of neighbours; a better division of the same networks may need another
order of ``--students``.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, combinations

from cohort.reporting.waits import named
from cohort.runtime.placement import BYTES_PER_PARAMETER, PROCESS_BYTES, Division, Node, Share


def by_cost(
    division: Division, nodes: Sequence[Node], costs: Sequence[float], largest_network: int
) -> Division:
    """A division that fits the cluster, with students in hosts, and threads, by what they cost.

    Args:
        division: of the same students without regard to cost.
        nodes: of the cluster.
        costs: of each student, positive.
        largest_network: counts parameters.
    """
    on_gpu, cores = bool(division.share.gpus), [int(node.cpus) for node in nodes]
    if not on_gpu and sum(cores) < 2:
        return division  # there is nothing to share out
    count = len(division.hosts) if on_gpu else min(len(costs), sum(cores))
    hosts = balanced(costs, count)
    loads = [sum(costs[student] for student in host) for host in hosts]
    threads = (division.threads,) * count if on_gpu else in_proportion(loads, cores)
    given = tuple(
        (_share(division.share, len(host), each, largest_network), each)
        for host, each in zip(hosts, threads, strict=True)
    )
    mean = max(1, sum(threads) // count)
    notice = _notice(hosts, threads, on_gpu)
    return replace(division, hosts=hosts, threads=mean, by_cost=given, notice=notice)


def balanced(costs: Sequence[float], hosts: int) -> tuple[tuple[int, ...], ...]:
    """Students in so many parts, none empty, in order: the dearest part is as cheap as it can be.

    Args:
        costs: of each student, positive.
        hosts: parts, at most one for each student.

    Example:
        >>> balanced([9, 2, 2, 3], 2)
        ((0,), (1, 2, 3))
    """
    sums = list(accumulate(costs, initial=0.0))
    bounds = sorted({b - a for a, b in combinations(sums, 2)})
    least = bisect_left(bounds, True, key=lambda bound: len(_filled(costs, hosts, bound)) <= hosts)
    return tuple(map(tuple, _filled(costs, hosts, bounds[least])))


def in_proportion(loads: Sequence[float], cores: Sequence[int]) -> tuple[int, ...]:
    """Torch threads of each host: one, and the cores that are left to whoever needs longest.

    Args:
        loads: costs of each host's students together.
        cores: of each node; in total at least one for each host.

    Example:
        >>> in_proportion([1.0, 5.4], [4])
        (1, 3)
    """
    threads = [1] * len(loads)
    for _ in range(sum(cores) - len(loads)):
        slowest = max(range(len(loads)), key=lambda host: loads[host] / threads[host])
        more = [n + (host == slowest) for host, n in enumerate(threads)]
        if not _fit(more, cores):  # nobody else's threads would make the step shorter
            break
        threads = more
    return tuple(threads)


def _share(share: Share, students: int, threads: int, largest_network: int) -> Share:
    memory = PROCESS_BYTES + students * BYTES_PER_PARAMETER * largest_network
    return replace(share, memory=memory, cpus=share.cpus if share.gpus else float(threads))


def _notice(hosts: Sequence[Sequence[int]], threads: Sequence[int], on_gpu: bool) -> str:
    """Who got what, for the user."""
    each = [
        named(host) + (" on a GPU" if on_gpu else f" with {count} thread{'s' * (count > 1)}")
        for host, count in zip(hosts, threads, strict=True)
    ]
    return f"balanced by the networks' multiply-adds: {'; '.join(each)}"


def _filled(costs: Sequence[float], hosts: int, bound: float) -> list[list[int]]:
    """Parts of at most ``bound`` each, as full as can be while there is a student for each part."""
    parts: list[list[int]] = []
    load = 0.0
    for student, cost in enumerate(costs):
        scarce = len(costs) - student <= hosts - len(parts)
        # A sum may differ in its last bits from the difference of two that is its bound.
        if not parts or scarce or load + cost > bound * (1 + 1e-12):
            parts.append([])
            load = 0.0
        parts[-1].append(student)
        load += cost
    return parts


def _fit(threads: Sequence[int], cores: Sequence[int]) -> bool:
    """Whether hosts with so many threads find their cores: the largest first, where there is most room."""
    free = list(cores)
    for count in sorted(threads, reverse=True):
        node = free.index(max(free))
        free[node] -= count
        if free[node] < 0:
            return False
    return True
