"""Whether a study's search and scheduler suit its space and commands."""

from collections.abc import Mapping

from cohort.config import RunConfig
from cohort.tuning.commands import Command, build_config
from cohort.tuning.file.axes import kind_of
from cohort.tuning.file.reading import Place
from cohort.tuning.space import extremes, is_drawn, keys_of
from cohort.tuning.study import GridSearch, NoScheduler, OptunaSearch, Pbt, Study
from cohort.tuning.trials import TrialSpec

MUTABLE: Mapping[Command, tuple[str, ...]] = {
    "launch_cohort": ("lr", "temperature", "mimicry_weight"),
    "self_distill": ("lr", "alpha", "hint_weight", "temperature"),
    "ods_distill": ("lr", "eta", "tau", "alpha"),
}
"""Keys that may change in the middle of a run."""


def check_search(study: Study, place: Place) -> None:
    """Raise ConfigError for an axis that the search cannot take, or if it has nothing to draw."""
    kind = study.search.kind
    for name, axis in study.space.items():
        here, drawn = place.at("space", name), is_drawn(axis)
        if isinstance(study.search, GridSearch) and drawn:
            raise here.error(
                f"is drawn ({kind_of(axis)}), and search grid draws nothing; use grid, or "
                "search: {kind: random, samples: N}"
            )
        if isinstance(study.search, OptunaSearch) and not drawn:
            raise here.error(
                f"is a list ({kind_of(axis)}), and search optuna suggests every value; use choice, "
                "uniform, loguniform or randint"
            )
    if kind != "grid" and not any(map(is_drawn, study.space.values())):
        raise place.at("search", "kind").error(
            f"is {kind}, but no axis of the space is drawn; use choice, uniform, loguniform or "
            "randint, or search: {kind: grid}"
        )


def check_scheduler(study: Study, place: Place) -> None:
    """Raise ConfigError for a scheduler that does not go with the search, seeds or commands."""
    here, kind = place.at("scheduler", "kind"), study.scheduler.kind
    optuna = isinstance(study.search, OptunaSearch)
    if optuna and not isinstance(study.scheduler, NoScheduler) and len(study.seeds) > 1:
        raise here.error(
            f"is {kind} with search optuna and {len(study.seeds)} seeds; Optuna is told a mean over "
            "all seeds, so use one seed, or scheduler: {kind: none}"
        )
    if isinstance(study.scheduler, Pbt):
        if optuna:
            raise here.error("is pbt with search optuna; use search grid or random")
        _check_mutate(study, study.scheduler, place)


def check_at_once(study: Study, trials: int, place: Place) -> None:
    """Raise ConfigError if the study itself keeps a population from training together."""
    limit = study.max_concurrent
    if isinstance(study.scheduler, Pbt) and limit is not None and limit < trials:
        raise place.at("max_concurrent").error(
            f"is {limit}, but scheduler pbt compares the population's {trials} trials while they "
            f"train; leave it out, or use {trials} or more"
        )


def check_population(study: Study, spec: TrialSpec, config: RunConfig, place: Place) -> None:
    """Raise ConfigError unless a trial has a value of every mutated key, and may have the others."""
    if not isinstance(study.scheduler, Pbt):
        return
    for key, axis in study.scheduler.mutate.items():
        here = place.at("scheduler", "mutate", key)
        if spec.values.get(key) is None:
            raise here.error(f"has no value to begin with; set {key!r} in base or space")
        for value in extremes(axis):
            values = {name: getattr(config, name) for name in spec.values} | {key: value}
            build_config(spec.command, values, str(here))


def _check_mutate(study: Study, scheduler: Pbt, place: Place) -> None:
    mutate = place.at("scheduler", "mutate")
    in_cases = any("command" in keys_of(name, axis) for name, axis in study.space.items())
    if in_cases or study.command is None:
        raise place.at("scheduler", "kind").error(
            "is pbt, whose trials must be of one command; name it by the study's key 'command'"
        )
    allowed = MUTABLE[study.command]
    for key, axis in scheduler.mutate.items():
        if key not in allowed:
            raise mutate.at(key).error(
                f"cannot change in the middle of a run; of {study.command} {', '.join(allowed)} can"
            )
        if not is_drawn(axis):
            raise mutate.at(key).error(
                f"is a list ({kind_of(axis)}); use choice, uniform, loguniform or randint"
            )
