"""From a config to a cohort that is ready to train, everything refusable refused on the way."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from cohort.analysis.cost import multiply_adds
from cohort.config import check_precision
from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.learning.compiling import check_machine
from cohort.learning.feeding import fed_here
from cohort.learning.plan import TrainingPlan
from cohort.learning.precision import check_device
from cohort.machine import cores, gib, memory
from cohort.models.auxiliary import auxiliary_of
from cohort.models.families import ImageShape
from cohort.models.modules import count_parameters
from cohort.models.registry import build_network
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.balance import by_cost
from cohort.runtime.cohort import Cohort
from cohort.runtime.config import CohortConfig, check_one_process
from cohort.runtime.in_process import InProcessCohort
from cohort.runtime.own_ray import check_sockets, starts_ray
from cohort.runtime.placement import (
    BYTES_PER_PARAMETER,
    Division,
    Node,
    check_threads,
    share_out,
    this_machine,
)

if TYPE_CHECKING:
    from cohort.runtime.actors import RayCohort
    from cohort.runtime.reservation import Reservation


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """What a cohort is made of; the config is resolved."""

    config: CohortConfig
    plan: TrainingPlan
    dataset: ImageDataset
    objective: MutualLearning
    largest_network: int
    """Parameters."""


def session(config: CohortConfig) -> AbstractContextManager[None]:
    """The Ray that the cohort needs, or nothing at all for one in this process."""
    if config.exchange == "in_process":
        return nullcontext()
    from cohort.runtime.session import ray_session  # a cohort in this process never imports Ray

    return ray_session(config.address)


def check_here(config: CohortConfig) -> None:
    """Raise ConfigError for what this machine does not have, if it is known that the cohort runs here.

    It is known of one in this process, and of one that starts a Ray, for which no data are read yet
    and no process is started.
    """
    if config.exchange == "in_process":
        check_threads([this_machine()], config.threads, config.decoders)
        _device_in_process(config)
    elif starts_ray(config.address):
        check_sockets()
        check_division(config, _divided(config, [this_machine()], 0))


def check_fits_here(parts: Ingredients) -> None:
    """Raise ConfigError for networks that this machine has no memory for, if it is to train them."""
    if parts.config.exchange == "in_process":
        _check_memory(parts, _device_in_process(parts.config))
    elif starts_ray(parts.config.address):
        _divided(parts.config, [this_machine()], parts.largest_network)


def check_division(config: CohortConfig, division: Division) -> None:
    """Raise ConfigError for what cannot be done where the students are placed."""
    on_gpu = division.share.device == "cuda"
    check_precision(config.precision, on_gpu=on_gpu)
    check_machine(config, on_gpu=on_gpu)
    check_one_process(config, len(division.hosts))


@dataclass(frozen=True)
class Assembled:
    """A cohort at step 0."""

    cohort: Cohort
    threads: int | None
    """Torch threads of each host; None with ``--balance``, which decides them anew where it goes on."""
    notice: str | None = None
    """For the user, of how students share what there is."""


@contextmanager
def assemble(parts: Ingredients, reservation: "Reservation | None" = None) -> Iterator[Assembled]:
    """The cohort at step 0; closed afterwards.

    A ``reservation`` that is lent is used and stays; otherwise the cluster is shared out. Raises
    ConfigError if the cluster is too small.
    """
    if parts.config.exchange == "in_process":
        with _fed_here(parts) as fed, closing(_in_process(fed)) as here:
            yield Assembled(here, _threads_here(parts.config))
        return
    lent = _places(parts) if reservation is None else nullcontext(reservation)
    with lent as places:
        division = places.division
        check_division(parts.config, division)
        threads = None if parts.config.balance else division.threads
        with closing(_actors(parts, places)) as actors:
            yield Assembled(actors, threads, division.notice)


@contextmanager
def _fed_here(parts: Ingredients) -> Iterator[Ingredients]:
    """The same, whose pictures in files are decoded once for all students."""
    busy, decoders = _threads_here(parts.config), parts.config.decoders
    with fed_here(parts.dataset, parts.plan, decoders=decoders, busy=busy) as dataset:
        yield replace(parts, dataset=dataset)


def _in_process(parts: Ingredients) -> InProcessCohort:
    config = parts.config
    return InProcessCohort(
        config.networks,
        parts.plan,
        parts.dataset,
        parts.objective,
        sequential=config.schedule == "sequential",
        threads=_threads_here(config),
        device=_device_in_process(config),
    )


def _places(parts: Ingredients) -> AbstractContextManager["Reservation"]:
    from cohort.runtime.reservation import reserved
    from cohort.runtime.session import cluster_nodes

    config, nodes = parts.config, cluster_nodes()
    division = _divided(config, nodes, parts.largest_network)
    if config.balance:
        costs = [multiply_adds_of(network, parts.dataset) for network in config.networks]
        division = by_cost(division, nodes, costs, parts.largest_network)
    return reserved(division)


def _divided(config: CohortConfig, nodes: Sequence[Node], largest_network: int) -> Division:
    """Which students share a process on these nodes. Raises ConfigError if they do not fit."""
    check_threads(nodes, config.threads, config.decoders)
    return share_out(
        nodes,
        config.k,
        config.gpus,
        largest_network,
        threads=config.threads,
        per_process=config.per_process,
    )


def _actors(parts: Ingredients, places: "Reservation") -> "RayCohort":
    from cohort.runtime.actors import RayCohort
    from cohort.runtime.exchange import choose_exchange

    return RayCohort(
        parts.config.networks,
        parts.plan,
        parts.dataset,
        parts.objective,
        exchange=choose_exchange(
            parts.config,
            [len(students) for students in places.division.hosts],
            parts.dataset.num_classes,
        ),
        reservation=places,
        decoders=parts.config.decoders,
        hang_after=parts.config.hang_after,
    )


def _threads_here(config: CohortConfig) -> int:
    """Torch threads of a cohort in this process: as many as its students would have apart."""
    return config.threads or max(1, cores() // config.k)


def _check_memory(parts: Ingredients, device: torch.device) -> None:
    """Raise ConfigError for students in this process that this machine's memory does not hold."""
    config, there = parts.config, memory()
    trained = sum(parameters_of(network, parts.dataset) for network in config.networks)
    if device.type == "cpu" and trained * BYTES_PER_PARAMETER > there:
        raise ConfigError(
            f"--k is {config.k}, but the students together take {gib(trained * BYTES_PER_PARAMETER)} or "
            f"more, and this machine has {gib(there)} of memory; use fewer, or smaller networks"
        )


def _device_in_process(config: CohortConfig) -> torch.device:
    available = torch.cuda.device_count()
    if (config.gpus or 0) > available:
        raise ConfigError(f"--gpus is {config.gpus}, but this machine has {available}")
    device = torch.device("cuda" if available and config.gpus != 0 else "cpu")
    check_device(config.precision, device)
    check_machine(config, on_gpu=device.type == "cuda")
    return device


def parameters_of(network: Network, dataset: ImageDataset) -> int:
    """How many parameters are trained of a network for this data, auxiliary heads included.

    Raises ConfigError if it does not fit it.
    """
    return _parameters(network, dataset.num_classes, dataset.image_shape)


def multiply_adds_of(network: Network, dataset: ImageDataset) -> int:
    """What one image costs a network for this data, by its convolutions and matrix products; at least 1."""
    return _multiply_adds(network, dataset.num_classes, dataset.image_shape)


@functools.cache
def _multiply_adds(network: Network, num_classes: int, image_shape: ImageShape) -> int:
    with torch.random.fork_rng(devices=[]):
        module = build_network(network, num_classes=num_classes, image_shape=image_shape)
    return max(1, multiply_adds(module, torch.zeros(1, *image_shape)))


@functools.cache  # a study asks for each of its points
def _parameters(network: Network, num_classes: int, image_shape: ImageShape) -> int:
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are his own
        module = build_network(network, num_classes=num_classes, image_shape=image_shape)
    heads = auxiliary_of(network, image_shape)
    if heads is None:
        return count_parameters(module)
    assert isinstance(network, str)
    with torch.device("meta"):
        return count_parameters(module) + count_parameters(heads.build(network, num_classes))
