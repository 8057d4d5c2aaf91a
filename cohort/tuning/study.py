"""What a study consists of. Imports neither torch nor ray."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cohort.errors import ConfigError
from cohort.tuning.commands import Command
from cohort.tuning.limits import at_least
from cohort.tuning.report import Report
from cohort.tuning.space import Axis


@dataclass(frozen=True, kw_only=True)
class NoScheduler:
    """Every trial is trained to its end."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Asha:
    """Successive halving: at each rung all but the best 1 / ``reduction_factor`` stop."""

    kind: Literal["asha"] = "asha"
    grace_epochs: int = 1
    """Epochs before the first rung; the next ones are ``reduction_factor`` times as far."""
    reduction_factor: float = 3

    def __post_init__(self) -> None:
        at_least(self, 1, "grace_epochs")
        if not 1 < self.reduction_factor < math.inf:
            raise ConfigError(
                f"reduction_factor is {self.reduction_factor}; it must be greater than 1"
            )


@dataclass(frozen=True, kw_only=True)
class Median:
    """A trial stops whose best is worse than the median of the others' running means."""

    kind: Literal["median"] = "median"
    grace_epochs: int = 1
    min_trials: int = 3
    """Trials that the median needs."""

    def __post_init__(self) -> None:
        at_least(self, 1, "grace_epochs", "min_trials")


@dataclass(frozen=True, kw_only=True)
class Pbt:
    """Population-based training: the worst go on from the best ones' weights, with keys changed."""

    kind: Literal["pbt"] = "pbt"
    every_epochs: int = 2
    quantile: float = 0.25
    """Share of the trials that are the worst, and the best."""
    resample: float = 0.25
    """Probability with which a key is drawn anew, not scaled."""
    mutate: Mapping[str, Axis]

    def __post_init__(self) -> None:
        at_least(self, 1, "every_epochs")
        if not 0 < self.quantile <= 0.5:
            raise ConfigError(f"quantile is {self.quantile}; it must be above 0 and at most 0.5")
        if not 0 <= self.resample <= 1:
            raise ConfigError(f"resample is {self.resample}; it must be from 0 to 1")
        if not self.mutate:
            raise ConfigError("mutate is {}; it must name at least one key")


Scheduler = NoScheduler | Asha | Median | Pbt


@dataclass(frozen=True, kw_only=True)
class GridSearch:
    """Every point of the space."""

    kind: Literal["grid"] = "grid"


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Draws of the axes that are not lists, the same in every cell of those that are."""

    kind: Literal["random"] = "random"
    samples: int
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "samples")
        at_least(self, 0, "seed")


@dataclass(frozen=True, kw_only=True)
class OptunaSearch:
    """Points that Optuna suggests from what the earlier ones gave."""

    kind: Literal["optuna"] = "optuna"
    samples: int
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "samples")
        at_least(self, 0, "seed")


Search = GridSearch | RandomSearch | OptunaSearch


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each student, or a trial in one process, takes; None for what the cluster has to give."""

    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.cpus is not None and not 0 < self.cpus < math.inf:
            raise ConfigError(f"cpus is {self.cpus}; it must be greater than 0")
        at_least(self, 0, "gpus")


@dataclass(frozen=True)
class PreparedRun:
    """A run that is trained before the trials, which refer to it as ``run:NAME``."""

    command: Command
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """One file: which runs there are, and what is made of them."""

    name: str
    command: Command | None = None
    """Of all trials whose case sets none."""
    base: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, PreparedRun] = field(default_factory=dict)
    space: Mapping[str, Axis] = field(default_factory=dict)
    without: tuple[Mapping[str, Any], ...] = ()
    """Combinations of labels that are left out."""
    seeds: tuple[int, ...]
    metric: str
    mode: Literal["max", "min"]
    scheduler: Scheduler = NoScheduler()
    search: Search = GridSearch()
    resources: Resources = Resources()
    max_concurrent: int | None = None
    max_failures: int = 3
    report: Report

    def __post_init__(self) -> None:
        seeds = self.seeds
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ConfigError(
                f"seeds is {list(seeds)}; it must hold different numbers of 0 or greater"
            )
        at_least(self, 1, "max_concurrent")
        at_least(self, 0, "max_failures")
