"""What a study consists of. Imports neither torch nor ray."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from cohort.errors import ConfigError
from cohort.tuning.axes import InFile
from cohort.tuning.commands import COMMANDS, Command
from cohort.tuning.report import Report

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class NoScheduler:
    """Every trial is trained to its end."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Asha:
    """Successive halving: at each rung all but the best 1 / ``reduction_factor`` stop."""

    kind: Literal["asha"] = "asha"
    grace_epochs: Count = 1
    """Epochs before the first rung; the next ones are ``reduction_factor`` times as far."""
    reduction_factor: Annotated[float, Field(gt=1)] = 3


Scheduler = Annotated[NoScheduler | Asha, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class GridSearch:
    """Every point of the space."""

    kind: Literal["grid"] = "grid"


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Draws of the axes that are not lists, the same in every cell of those that are."""

    kind: Literal["random"] = "random"
    samples: Count
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class OptunaSearch:
    """Points that Optuna suggests from what the earlier ones gave."""

    kind: Literal["optuna"] = "optuna"
    samples: Count
    seed: Seed = 0


Search = Annotated[GridSearch | RandomSearch | OptunaSearch, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each student, or a trial in one process, takes; None for what the cluster has to give."""

    cpus: Annotated[float, Field(gt=0)] | None = None
    gpus: Annotated[float, Field(ge=0)] | None = None


@dataclass(frozen=True)
class PreparedRun:
    """A run that is trained before the trials, which refer to it as ``run:NAME``."""

    command: Command
    values: Mapping[str, Any]


def read_run(value: Any) -> Any:
    """The fields of a prepared run from the file's section: the command and its keys together."""
    if not isinstance(value, dict):
        return value
    if "command" not in value:
        raise ConfigError(f"command is missing; it must be one of {', '.join(COMMANDS)}")
    values = {key: each for key, each in value.items() if key != "command"}
    return {"command": value["command"], "values": values}


@dataclass(frozen=True, kw_only=True)
class Study:
    """One file: which runs there are, and what is made of them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}
    """Of all sections; ``cohort.tuning.file`` reads them with pydantic, and so checks the bounds."""

    name: str
    command: Command | None = None
    """Of all trials whose case sets none."""
    base: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, Annotated[PreparedRun, BeforeValidator(read_run)]] = field(
        default_factory=dict
    )
    space: Mapping[str, InFile] = field(default_factory=dict)
    without: tuple[Mapping[str, Any], ...] = ()
    """Combinations of labels that are left out."""
    seeds: tuple[int, ...]
    metric: str
    mode: Literal["max", "min"]
    scheduler: Scheduler = NoScheduler()
    search: Search = GridSearch()
    resources: Resources = Resources()
    max_concurrent: Count | None = None
    max_failures: Annotated[int, Field(ge=0)] = 3
    report: Report

    def __post_init__(self) -> None:
        seeds = self.seeds
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ConfigError(
                f"seeds is {list(seeds)}; it must hold different numbers of 0 or greater"
            )
