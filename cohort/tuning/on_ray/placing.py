"""The places of a study's trials on a cluster: checked before anything starts, then reserved."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import ray
from ray.tune import PlacementGroupFactory

from cohort.commands import by_key
from cohort.config import DataConfig, RunConfig, data_keys
from cohort.config_file import names_of
from cohort.data.dataset import ImageDataset
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from cohort.jobs.ods.config import OdsConfig
from cohort.runtime.placement import Node, this_machine
from cohort.runtime.session import cluster_nodes
from cohort.tuning.demand import Cluster, Demand, demand_of
from cohort.tuning.study import Resources
from cohort.tuning.trials import TrialSpec, config_of, referred

TOUCH = 0.001
"""Of a resource that a node has 1 of: enough to be there, and a thousand fit."""
UNSEEN = frozenset(
    (
        *("seed", "lr", "weight_decay", "decay_on", "optimizer", "lr_schedule"),
        *("temperature", "mimicry_weight", "alpha", "hint_weight", "hint_distance"),
        *("mimicry", "mimicry_beta", "standardise", "eta", "tau"),
    )
)
"""Keys that change neither what a trial takes nor whether data and networks go together."""
Locate = Callable[[RunConfig], RunConfig]
Read = Callable[[DataConfig, int], ImageDataset]


class Placing:
    """Knows what each trial takes of the cluster, and asks Tune to reserve it.

    A trial's own process stands on the node where the study runs, for that is where its files are
    written; it takes no core there unless it trains itself.

    Args:
        cluster: what there is.
        resources: what the study asks for.
        runs: folder of the prepared runs.
        locate: puts the place of the data into a config.
    """

    def __init__(self, cluster: Cluster, resources: Resources, runs: Path, locate: Locate) -> None:
        self.cluster = cluster
        self._resources = resources
        self._runs = runs
        self._locate = locate
        self._known: dict[str, Demand] = {}
        self._tried: dict[str, tuple[RunConfig, int]] = {}
        """Configs that are known to go together with their data, and their largest networks."""

    def on(self, cluster: Cluster) -> Self:
        """The same for another cluster: what was tried out need not be tried again."""
        there = copy(self)
        there.cluster, there._known = cluster, {}
        return there

    def check(self, specs: Sequence[TrialSpec]) -> list[Demand]:
        """What these trials take.

        Raises ConfigError, naming the trial, for one that can never be placed, or that its command
        would refuse: data that are not there, a network that does not fit its images.
        """
        demands: list[Demand] = []
        read = lru_cache(maxsize=1)(load_dataset)
        for spec in sorted(specs, key=_data_of):  # one data set after the other, each read once
            try:
                demands.append(self.demand(spec, read))
            except ConfigError as error:
                raise ConfigError(f"trial {spec.name}: {error}") from error
        return demands

    def demand(self, spec: TrialSpec, read: Read = load_dataset) -> Demand:
        """What a trial takes: looked into once for all that differ in ``UNSEEN`` alone."""
        seen = {key: value for key, value in spec.values.items() if key not in UNSEEN}
        key = json.dumps([spec.command, seen], sort_keys=True)
        if key not in self._known:
            if key not in self._tried:
                self._tried[key] = self._try_out(spec, read)
            config, largest = self._tried[key]
            self._known[key] = demand_of(config, self.cluster, self._resources, largest)
        return self._known[key]

    def _try_out(self, spec: TrialSpec, read: Read) -> tuple[RunConfig, int]:
        config = self._locate(config_of(spec, None, self._runs))
        demand_of(config, self.cluster, self._resources)  # refuses before anything takes time
        waits = any(referred(value) for value in spec.values.values())
        return config, 0 if waits else _tried_out(spec, config, read)

    def __call__(self, config: Mapping[str, Any]) -> PlacementGroupFactory:
        """The places that Tune reserves for a trial, all or none, before it starts."""
        own, *students = self.demand(TrialSpec.from_dict(config["trial"])).bundles
        return PlacementGroupFactory(
            [{**own, _this_node_resource(): TOUCH}, *students], strategy="PACK"
        )


def this_machine_alone() -> Cluster:
    """The most that a Ray would have that is started here."""
    here = this_machine()
    return Cluster((here,), here)


def present_cluster() -> Cluster:
    """The nodes of the Ray that runs."""
    this = ray.get_runtime_context().get_node_id()
    (here,) = (node for node in ray.nodes() if node["NodeID"] == this)  # type: ignore[no-untyped-call]
    total = here["Resources"]
    node = Node(total.get("CPU", 0.0), total.get("GPU", 0.0), total.get("memory", 0.0))
    return Cluster(tuple(cluster_nodes()), node)


def _tried_out(spec: TrialSpec, config: RunConfig, read: Read) -> int:
    """Parameters of the largest network, after reading the data and building the networks."""
    if isinstance(config, OdsConfig):
        return 0
    command = by_key(spec.command)
    dataset = read(DataConfig(**data_keys(config)), config.seed)
    return command.prepare(command.resolve(config), dataset).largest_network


def _data_of(spec: TrialSpec) -> str:
    """Equal for trials of one command that learn from the same images."""
    return json.dumps([spec.command, *map(spec.values.get, names_of(DataConfig))])


def _this_node_resource() -> str:
    """Ray gives every node 1 of a resource named after its address."""
    return f"node:{ray.util.get_node_ip_address()}"  # type: ignore[no-untyped-call]
