"""What each worker of a job gets, decided before anything is asked of Ray.

Ray Train waits for ever for more than a cluster has, so that is refused here, with the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.jobs.config import JobConfig
from cohort.learning.plan import TrainingPlan
from cohort.runtime.placement import Node


@dataclass(frozen=True)
class Placement:
    """Where a job's workers run: each on a core, on a GPU too if ``gpus``, with torch ``threads``."""

    workers: int
    gpus: bool
    threads: int


def place(
    nodes: Sequence[Node], workers: int, gpus: int | None, threads: int | None, *, beside: int = 0
) -> Placement:
    """Placement of ``workers`` >= 1 on the nodes; ``gpus`` is their total, None for what there is.

    ``beside`` actors, the teachers, take as much each as a worker does. Raises ConfigError, saying
    what would fit, if the cluster has too few cores or GPUs.
    """
    available = sum(int(node.gpus) for node in nodes)
    with_gpu = bool(available) if gpus is None else gpus > 0
    fit = sum(min([int(node.cpus)] + [int(node.gpus)] * with_gpu) for node in nodes)
    if fit < workers + beside:
        cores = sum(node.cpus for node in nodes)
        units = f"{cores:g} cores" + (f" and {available} GPUs" if with_gpu else "")
        advice = "or --gpus 0, " if with_gpu and sum(int(n.cpus) for n in nodes) >= workers else ""
        if beside:
            raise ConfigError(
                f"--workers {workers} and --teacher-pool {beside} need {workers + beside} places, but "
                f"the cluster's {units} have at most {fit}; use fewer, {advice}or --address of a "
                "larger cluster"
            )
        raise ConfigError(
            f"--workers is {workers}, but the cluster's {units} place at most {fit}; "
            f"use --workers {fit} or fewer, {advice}or --address of a larger cluster"
        )
    return Placement(
        workers, with_gpu, threads or max(1, int(cores_of(nodes) // (workers + beside)))
    )


def cores_of(nodes: Sequence[Node]) -> float:
    """Cores of all nodes together."""
    return sum(node.cpus for node in nodes)


def check_divides(config: JobConfig, plan: TrainingPlan, dataset: ImageDataset) -> None:
    """Raise ConfigError unless every worker has as many examples of a batch, and some of each split."""
    if plan.batch_size % max(config.workers, 1):
        raise ConfigError(
            f"--batch-size is {plan.batch_size}, which --workers {config.workers} cannot share "
            "equally; make it a multiple"
        )
    for name, split in (("test", dataset.test), ("validation", dataset.validation)):
        if split is not None and len(split) < config.workers:
            raise ConfigError(
                f"--workers is {config.workers}, but the {name} split has {len(split)} images; "
                "take fewer workers"
            )
