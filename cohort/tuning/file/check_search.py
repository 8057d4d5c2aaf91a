"""Whether a study's search and scheduler suit its space."""

from cohort.tuning.axes import is_drawn
from cohort.tuning.file.reading import Place
from cohort.tuning.study import GridSearch, NoScheduler, OptunaSearch, Study


def check_search(study: Study, place: Place) -> None:
    """Raise ConfigError for an axis that the search cannot take, or if it has nothing to draw."""
    kind = study.search.kind
    for name, axis in study.space.items():
        here, drawn = place.at("space", name), is_drawn(axis)
        if isinstance(study.search, GridSearch) and drawn:
            raise here.error(
                f"is drawn ({axis.kind}), and search grid draws nothing; use grid, or "
                "search: {kind: random, samples: N}"
            )
        if isinstance(study.search, OptunaSearch) and not drawn:
            raise here.error(
                f"is a list ({axis.kind}), and search optuna suggests every value; use choice, "
                "uniform, loguniform or randint"
            )
    if kind != "grid" and not any(map(is_drawn, study.space.values())):
        raise place.at("search", "kind").error(
            f"is {kind}, but no axis of the space is drawn; use choice, uniform, loguniform or "
            "randint, or search: {kind: grid}"
        )


def check_scheduler(study: Study, place: Place) -> None:
    """Raise ConfigError for a scheduler that does not go with the search and the seeds."""
    stops = not isinstance(study.scheduler, NoScheduler)
    if stops and isinstance(study.search, OptunaSearch) and len(study.seeds) > 1:
        raise place.at("scheduler", "kind").error(
            f"is {study.scheduler.kind} with search optuna and {len(study.seeds)} seeds; Optuna is "
            "told a mean over all seeds, so use one seed, or scheduler: {kind: none}"
        )
