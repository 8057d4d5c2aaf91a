"""What a trial takes of the cluster, and whether that can ever fit: arithmetic, no ray.

A cohort's students get places that are reserved together with the trial. A trial in one process
takes a place on the node where the study runs, for that is where its files are written. The workers
of a Ray Train job ask for their places themselves, so no more such trials run at once than fit.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cohort.config import RunConfig, check_precision
from cohort.errors import ConfigError
from cohort.jobs.config import JobConfig
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.placement import place
from cohort.runtime.config import CohortConfig
from cohort.runtime.placement import Division, Node, Share, share_out
from cohort.tuning.study import Resources

Bundle = dict[str, float]
NO_BUNDLE: Bundle = {}


@dataclass(frozen=True)
class Cluster:
    """What there is to run on."""

    nodes: tuple[Node, ...]
    here: Node
    """The node where the study runs."""


@dataclass(frozen=True)
class Demand:
    """What one trial takes."""

    own: Share | None = None
    """Of its own process, if that trains."""
    share: Share | None = None
    """Of each of ``hosts``, the processes of its students, reserved with the trial."""
    hosts: int = 0
    workers: int = 0
    """Cores, or GPUs, that its Ray Train job asks for once it runs."""

    @property
    def bundles(self) -> list[Bundle]:
        """The places to reserve: of the trial's own process first, then of each host."""
        own = self.own.resources() if self.own else NO_BUNDLE
        hosts = [self.share.resources()] * self.hosts if self.share else []
        return [own, *hosts]

    @property
    def places(self) -> float:
        """Cores, or GPUs where it takes some, in total."""
        shares = [(self.own, 1), (self.share, self.hosts)]
        taken = sum((share.gpus or share.cpus) * count for share, count in shares if share)
        return taken + self.workers


def demand_of(
    config: RunConfig, cluster: Cluster, resources: Resources, largest_network: int = 0
) -> Demand:
    """What a trial with this config takes of the cluster.

    ``largest_network`` counts parameters. Raises ConfigError, with the arithmetic and what would
    fit, if the cluster is too small for it even when nothing else runs, or has no GPU for tf32.
    """
    if isinstance(config, CohortConfig) and config.exchange != "in_process":
        demand = _of_students(config, cluster, resources, largest_network)
    elif isinstance(config, JobConfig) and config.workers > 0:
        return _of_workers(config, cluster, resources)
    else:
        demand = Demand(own=_own_share(config, cluster.here, resources))
    check_precision(config.precision, on_gpu=any("GPU" in bundle for bundle in demand.bundles))
    return demand


def most_at_once(demands: Iterable[Demand], cluster: Cluster) -> int | None:
    """How many of these trials fit at once whichever they are; None to leave it to reservations.

    Places that are reserved cannot be taken twice. Workers of Ray Train's are not reserved, so the
    largest trial is counted for all. Where students share a core, the rest of a core may lie on
    another node than the next trial needs: then it is one at a time.
    """
    demands = list(demands)
    if not any(demand.workers for demand in demands):
        return None
    if any(demand.share and demand.share.cpus < 1 for demand in demands):
        return 1
    available = sum(int(node.gpus) for node in cluster.nodes) or sum(
        int(node.cpus) for node in cluster.nodes
    )
    return max(1, int(available // max(demand.places for demand in demands)))


def _of_students(
    config: CohortConfig, cluster: Cluster, resources: Resources, largest_network: int
) -> Demand:
    if resources.gpus is not None and config.gpus is not None:
        raise ConfigError(
            f"resources.gpus is {resources.gpus:g}, each process's, but gpus is {config.gpus}, the "
            "cohort's; leave one of them out"
        )
    gpus = 0 if resources.gpus == 0 else config.gpus

    def divided(students: int) -> Division:
        return share_out(
            cluster.nodes,
            students,
            gpus,
            largest_network,
            threads=config.threads,
            per_process=config.per_process,
        )

    def demand(students: int) -> Demand | None:
        try:
            return _resized(divided(students), cluster, resources)
        except ConfigError:
            return None

    found = demand(config.k)
    if found is None:
        # Where the study says nothing, or where not even one student fits, for its own reason.
        divided(config.k if resources == Resources() else 1)
        most = next((n for n in range(config.k - 1, 0, -1) if demand(n)), 0)
        raise ConfigError(_too_many(config.k, most, resources, cluster))
    return found


def _resized(division: Division, cluster: Cluster, resources: Resources) -> Demand | None:
    """The hosts' places, as the study wants them; None if they do not fit."""
    share, hosts = division.share, len(division.hosts)
    each = share.gpus if resources.gpus is None else resources.gpus
    share = replace(share, cpus=resources.cpus or share.cpus, gpus=each)
    fitting = sum(_count(node, share) for node in cluster.nodes)
    return Demand(share=share, hosts=hosts) if fitting >= hosts else None


def _too_many(k: int, most: int, resources: Resources, cluster: Cluster) -> str:
    wanted = [] if resources.cpus is None else [_cores(resources.cpus)]
    wanted += [] if resources.gpus is None else [_gpus(resources.gpus)]
    fewer = f"use k {most} or fewer, " if most else "use "
    return (
        f"k is {k}, but with {' and '.join(wanted)} each the cluster's {_total(cluster)} place "
        f"{f'at most {most}' if most else 'none'} of its students; {fewer}smaller resources, or "
        "--address of a larger cluster"
    )


def _of_workers(config: JobConfig, cluster: Cluster, resources: Resources) -> Demand:
    if resources != Resources():
        raise ConfigError(
            "resources is for students' processes and trials in one process, but workers is "
            f"{config.workers}, each of which takes a core, and a GPU where there are some; leave "
            "resources out, or use workers 0"
        )
    pool = (config.teacher_pool or 0) if isinstance(config, OdsConfig) else 0
    placement = place(cluster.nodes, config.workers, config.gpus, config.threads, beside=pool)
    check_precision(config.precision, on_gpu=placement.gpus)
    return Demand(workers=config.workers + pool)


def _own_share(config: RunConfig, here: Node, resources: Resources) -> Share:
    """In one process: a core, and a GPU if there is one."""
    wanted_gpus = getattr(config, "gpus", None)
    if resources.gpus is not None and wanted_gpus is not None:
        raise ConfigError(
            f"resources.gpus is {resources.gpus:g}, but gpus is {wanted_gpus}; leave one of them out"
        )
    default = float(here.gpus >= 1) if wanted_gpus is None else float(wanted_gpus)
    gpus = default if resources.gpus is None else resources.gpus
    share = Share(cpus=resources.cpus or 1.0, gpus=gpus)
    if _count(here, share) < 1:
        raise ConfigError(
            f"a trial in one process takes {_written(share)}, but this node has {here.cpus:g} cores "
            f"and {here.gpus:g} GPUs; ask for less in resources, or use students or workers of their "
            "own (exchange: object_store, workers: 1)"
        )
    return share


def _count(node: Node, share: Share) -> int:
    """How many of these shares the node has place for."""
    limits = [(node.cpus, share.cpus), (node.gpus, share.gpus), (node.memory, share.memory)]
    # Ray counts in ten-thousandths; a share of a third, three times, is a whole.
    return min(math.floor(there / each + 1e-6) for there, each in limits if each)


def _written(share: Share) -> str:
    return _cores(share.cpus) + (f" and {_gpus(share.gpus)}" if share.gpus else "")


def _cores(number: float) -> str:
    return f"{number:g} core{'s' * (number > 1)}"


def _gpus(number: float) -> str:
    return f"{number:g} GPU{'s' * (number > 1 or number == 0)}"


def _total(cluster: Cluster) -> str:
    cores, gpus = (sum(getattr(n, key) for n in cluster.nodes) for key in ("cpus", "gpus"))
    return f"{cores:g} cores" + (f" and {gpus:g} GPUs" if gpus else "")
