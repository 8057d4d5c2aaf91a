"""The configuration of `cohort self-distill` and `self_distill`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cohort.config import (
    HintDistance,
    Mimicry,
    flag,
    is_of_run,
    mimicry_beta,
    not_empty,
    not_negative,
    positive,
)
from cohort.data.recipes import fill_in, self_distillation_recipe
from cohort.errors import ConfigError
from cohort.imports import written_name
from cohort.jobs.config import JobConfig
from cohort.models.spec import PlainNetwork

Method = Literal["byot", "dsn", "none", "kd", "fitnet", "at"]

CONSTANTS: Mapping[Method, Mapping[str, Any]] = {
    "byot": {"alpha": 0.3, "hint_weight": 0.03, "temperature": 3.0, "hint_distance": "sum"},
    "dsn": {},
    "none": {},
    "kd": {"alpha": 0.9, "temperature": 4.0},
    "fitnet": {"alpha": 0.0, "hint_weight": 100.0, "temperature": 4.0},
    "at": {"alpha": 0.0, "hint_weight": 1000.0, "temperature": 4.0},
}
"""The terms that a method's loss has, and their usual weights."""

EVEN_WITH_LABELS = ("dkd", "dist")
"""Ways of kd whose authors weigh them like the labels, by 1 each: the same ratio as an α of 0.5."""
WITH_EXITS = ("byot", "dsn")
WITH_TEACHER = ("kd", "fitnet", "at")
WITH_PLACES = ("byot", "dsn", "fitnet", "at")


@dataclass(frozen=True, kw_only=True)
class SelfDistillConfig(JobConfig):
    """A network that is its own teacher, or one of the methods it is compared with."""

    EXTENDABLE: ClassVar[tuple[str, ...]] = (*JobConfig.EXTENDABLE, "teacher")

    model: PlainNetwork | None = None
    """The network: a name (resnet18, wrn_20_8, pyramidnet_110_84, resnext29_8x64d, vgg16_bn, ..., any torchvision classifier, timm:NAME) or package.module:function. Default: the data set's recipe."""  # noqa: E501
    exits: str | tuple[str, ...] | None = None
    """Modules after which exits stand, or hints are taken, with commas between, such as stages.0,stages.1. Default: the network's own places."""  # noqa: E501
    method: Method = "byot"
    """byot (self-distillation), dsn (the same exits, labels only), none (the plain network), or from a --teacher: kd (posteriors), fitnet (hints), at (attention maps)."""  # noqa: E501
    teacher: str | None = None
    """Folder, or URI, of a finished run whose student teaches (kd, fitnet, at), or RUN_DIR/students/K."""
    alpha: float | None = None
    """Weight of the teacher's posterior in the loss, 1 - alpha that of the labels. Default: 0.3 for byot, 0.9 for kd (0.5 with --mimicry dkd or dist), 0 for fitnet and at."""  # noqa: E501
    hint_weight: float | None = None
    """Weight of the distance between features (byot), maps (fitnet) or attention maps (at). Default: 0.03, 100, 1000."""  # noqa: E501
    hint_distance: HintDistance | None = None
    """Over the features of an example, squares of byot's distance are added up (sum, the paper's equation) or averaged (mean, as versions did that had no such key: a run of theirs goes on with it). Default: sum."""  # noqa: E501
    temperature: float | None = None
    """T that softens both posteriors in the divergence, which is scaled by T squared. Default: 3 for byot, else 4."""  # noqa: E501
    mimicry: Mimicry = "kl"
    """How kd learns from its teacher's posterior: kl (Kullback-Leibler divergence), dkd (that of the right class against the rest, and of the rest among themselves, decoupled), or dist (correlation of posteriors, example by example and class by class)."""  # noqa: E501
    mimicry_beta: float | None = None
    """Weight of the second term of dkd or dist beside its first one. Default: 8 for dkd, 1 for dist."""
    standardise: bool = False
    """Let kd compare posteriors of standardised logits: of mean 0 and standard deviation 1 in each example, before the temperature."""  # noqa: E501

    def __post_init__(self) -> None:
        JobConfig.__post_init__(self)
        positive(self, "temperature")
        not_negative(self, "hint_weight", "mimicry_beta")
        not_empty(self, "model", "exits", "teacher")
        _check_model(self)
        _check_method(self)
        _check_mimicry(self)

    @classmethod
    def of_earlier(cls, values: dict[str, Any], file: object) -> dict[str, Any]:
        """A run that knows a hint's weight and not its distance began when that was a mean."""
        weighed = values.get("method") == "byot" and values.get("hint_weight") is not None
        if is_of_run(values) and weighed and "hint_distance" not in values:
            return values | {"hint_distance": "mean"}
        return values

    @property
    def places(self) -> tuple[str, ...] | None:
        """Where the exits stand, if the user says so."""
        if isinstance(self.exits, str):
            return tuple(place.strip() for place in self.exits.split(","))
        return self.exits


def resolve(config: SelfDistillConfig) -> SelfDistillConfig:
    """The config with every key that was left to recipe or method filled in."""
    recipe = self_distillation_recipe(config.dataset)
    constants = CONSTANTS[config.method]
    if config.mimicry in EVEN_WITH_LABELS:
        constants = {**constants, "alpha": 0.5}
    filled: dict[str, Any] = {
        key: value for key, value in constants.items() if getattr(config, key) is None
    }
    filled["mimicry_beta"] = mimicry_beta(config.mimicry, config.mimicry_beta)
    return dataclasses.replace(
        fill_in(config, recipe), model=config.model or recipe.network, **filled
    )


def _check_model(config: SelfDistillConfig) -> None:
    if config.model is not None and "+" in (name := written_name(config.model)):
        raise ConfigError(
            f"--model is {name!r}; here it is the network's name alone: whether it gets exits is said "
            "by --method, and where by --exits"
        )


def _check_method(config: SelfDistillConfig) -> None:
    method, alpha = config.method, config.alpha
    if alpha is not None and not 0 <= alpha <= 1:
        raise ConfigError(f"--alpha is {alpha}; it must be from 0 to 1")
    for key in ("alpha", "hint_weight", "hint_distance", "temperature"):
        if getattr(config, key) is not None and key not in CONSTANTS[method]:
            raise ConfigError(
                f"{flag(key)} is {getattr(config, key)} with --method {method}, whose loss has no "
                "such term; leave it out"
            )
    if config.temperature is not None and alpha is None and CONSTANTS[method]["alpha"] == 0:
        raise ConfigError(
            f"--temperature is {config.temperature} with --method {method}, which leaves posteriors "
            "out of the loss unless told otherwise; give their weight by --alpha too, or leave it out"
        )
    if config.exits is not None and method not in WITH_PLACES:
        raise ConfigError(
            f"--exits is {config.exits!r} with --method {method}, which has none; leave it out, or "
            f"use --method {', '.join(WITH_PLACES)}"
        )
    if method in WITH_TEACHER and config.teacher is None:
        raise ConfigError(
            f"--method is {method}, which learns from a teacher; name the folder of a finished run "
            "by --teacher RUN_DIR"
        )
    if config.teacher is not None and method not in WITH_TEACHER:
        raise ConfigError(
            f"--teacher is {config.teacher!r} with --method {method}, which needs none; "
            f"leave it out, or use --method {', '.join(WITH_TEACHER)}"
        )


def _check_mimicry(config: SelfDistillConfig) -> None:
    mimicry_beta(config.mimicry, config.mimicry_beta)  # refuses one without a second term
    how = f"--mimicry is {config.mimicry}" if config.mimicry != "kl" else "--standardise is on"
    if config.method != "kd" and (config.mimicry != "kl" or config.standardise):
        raise ConfigError(
            f"{how} with --method {config.method}; it is for a teacher's posteriors: use --method kd, or "
            "leave it out"
        )
    if config.mimicry == "dist" and config.workers > 1:
        raise ConfigError(
            f"--mimicry is dist with --workers {config.workers}, but it correlates the examples of a whole "
            "batch, of which each worker has a part; use --workers 1"
        )
