"""Whether the parts of a study fit together. Each raises ConfigError with file and key path."""

from collections.abc import Iterable, Mapping
from typing import Any

from cohort.config import RunConfig
from cohort.errors import ConfigError
from cohort.jobs.ods.config import OdsConfig
from cohort.tuning.axes import extremes, is_drawn
from cohort.tuning.file.check_keys import check_axes, check_config_keys
from cohort.tuning.file.check_metrics import (
    check_metric_names,
    check_split,
    check_validation,
    holds_out,
    is_searched,
)
from cohort.tuning.file.check_search import check_scheduler, check_search
from cohort.tuning.file.reading import Place
from cohort.tuning.report import HeatmapFigure, LinesFigure
from cohort.tuning.space import Point, draw, labels_of, spanned
from cohort.tuning.study import OptunaSearch, Study
from cohort.tuning.trials import TrialSpec, check_config, matches, points_of, prepared_of, trials_of


def check_study(study: Study, place: Place) -> None:
    """Raise ConfigError for the first thing that cannot be done."""
    check_axes(study, place)
    check_config_keys(study, place)
    check_search(study, place)
    check_scheduler(study, place)
    _check_without(study, place.at("without"))
    _check_figure(study, place.at("report", "figure"))
    check_metric_names(study, place)
    points = points_to_check(study)
    if not points:
        raise place.at("without").error("leaves no point of the space")
    _check_baseline(study, points, place.at("report", "baseline"))
    _check_configs(study, points, place)


def points_to_check(study: Study) -> list[Point]:
    """All points, or of those that Optuna might suggest one, and each axis at its extremes."""
    if not isinstance(study.search, OptunaSearch):
        return points_of(study)
    first = draw(study.space, study.search.seed, 0)
    moved = [
        first | {name: value}
        for name, axis in study.space.items()
        for value in extremes(axis)
        if value != first[name]
    ]
    return list(spanned(study.space, [first, *moved]))


def _check_without(study: Study, place: Place) -> None:
    for number, labels in enumerate(study.without):
        _check_combination(study, labels, place.at(number))


def _check_combination(study: Study, labels: Mapping[str, Any], place: Place) -> None:
    """Raise ConfigError unless these are labels that points of lists have."""
    known = labels_of(study.space)
    for name, value in labels.items():
        if name not in known:
            names = ", ".join(known) or "there is none"
            raise place.at(name).error(f"is of no label of the space; the labels are {names}")
        axis = study.space.get(name)
        if axis is not None and is_drawn(axis):
            raise place.at(name).error(
                f"is {value!r}, but space.{name} is drawn; name labels of grid, zip and cases"
            )
        values = known[name] or ()
        if value not in values:
            raise place.at(name).error(
                f"is {value!r}; it must be one of {', '.join(map(str, values))}"
            )


def _check_baseline(study: Study, points: Iterable[Point], place: Place) -> None:
    labels = study.report.baseline
    if labels is None:
        return
    _check_combination(study, labels, place)
    if not labels or not any(matches(point, labels) for point in points):
        raise place.error(f"is {dict(labels)}, which no point has; name labels that one has")


def _check_figure(study: Study, place: Place) -> None:
    figure, known = study.report.figure, labels_of(study.space)
    keys: tuple[str, ...] = ()
    if isinstance(figure, LinesFigure):
        keys = ("x", "series")
    elif isinstance(figure, HeatmapFigure):
        keys = ("x", "y", "panels")
    seen: dict[str, str] = {}
    for key in keys:
        name = getattr(figure, key)
        if name is None:
            continue
        if name not in known:
            names = ", ".join(known) or "there is none"
            raise place.at(key).error(f"is {name!r}; it must be a label of the space: {names}")
        if name in seen:
            raise place.at(key).error(f"is {name!r}, as is {seen[name]}; take another label")
        seen[name] = key


def _check_configs(study: Study, points: list[Point], place: Place) -> None:
    """Build every config: a command's own sentence says what is wrong with one."""
    for spec in prepared_of(study)[:: len(study.seeds)]:
        _build(spec, f"{place.file}: runs.{spec.labels['run']}")
    seen: dict[RunConfig, Point] = {}
    held_out = []
    for point in points:
        spec, where = trials_of(study, point)[0], f"{place.file}: {_written(point)}"
        config = _build(spec, where)
        if config in seen:
            raise ConfigError(
                f"{where} is the same run as {_written(seen[config])}; leave one of them out"
            )
        seen[config] = point
        held_out.append(holds_out(study, spec, config))
    check_validation(study, held_out, place)
    check_split(study, [is_searched(config) for config in seen], place)


def _build(spec: TrialSpec, where: str) -> RunConfig:
    config = check_config(spec, where)
    if isinstance(config, OdsConfig) and config.teachers is None:
        raise ConfigError(
            f"{where}: key 'teachers' is missing; name a prepared run as run:NAME, or the folder of "
            "a finished deep ensemble"
        )
    return config


def _written(point: Point) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in point.labels.items())
    return f"point {labels}" if labels else "base"
