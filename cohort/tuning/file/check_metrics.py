"""Whether a study's metrics are measurements that its runs make."""

import re
from collections.abc import Iterator

from cohort.config import RunConfig
from cohort.data.recipes import SEARCHED
from cohort.tuning.file.reading import Place
from cohort.tuning.report import BarsFigure, HeatmapFigure, LinesFigure
from cohort.tuning.study import NoScheduler, Study
from cohort.tuning.trials import TrialSpec, referred

CLASSIFIED = re.compile(
    r"([a-z]\w*_)?(test|validation)_(accuracy|agreement|pairwise_kl|diversity|temperature|c?(nll|brier|ece))"
)
FOUND = re.compile(
    r"([a-z]\w*_)?test_((multi_)?(map|map_trapezoid|rank1|rank5|rank10)|unmatched_queries)"
)
EVALUATED = re.compile(f"{CLASSIFIED.pattern}|{FOUND.pattern}")
"""Measurements of every evaluation: of the mean student, student K, or an ensemble."""
CONCLUDED = re.compile(
    r"(student_\d+_|best_)?(train_entropy|parameters|dee\w*|step|epoch)"
    r"|teacher_diversity|steps|epochs|wall_seconds|images_per_second|restarts|dropped"
)
"""Measurements of a run that has ended."""


def check_metric_names(study: Study, place: Place) -> None:
    """Raise ConfigError for a name that no measurement has."""
    for where, name in _names(study, place):
        if not (EVALUATED.fullmatch(name) or CONCLUDED.fullmatch(name)):
            raise where.error(
                f"is {name!r}; it must be a measurement, such as test_accuracy, "
                "ensemble_test_nll, student_0_test_accuracy, validation_nll or train_entropy, and "
                "test_map or test_rank1 where people are found again"
            )
    if not isinstance(study.scheduler, NoScheduler) and not EVALUATED.fullmatch(study.metric):
        raise place.at("metric").error(
            f"is {study.metric!r}, which is known of ended runs alone, with scheduler "
            f"{study.scheduler.kind}; name one of test_ or validation_"
        )


def check_validation(study: Study, held_out: list[bool], place: Place) -> None:
    """Raise ConfigError for a name of a validation split that no point holds out.

    ``held_out`` tells of each point whether it does; the metric is needed of all of them.
    """
    for where, name in _names(study, place):
        enough = all if where.path == ("metric",) else any
        if re.search(r"(^|_)validation_", name) and not enough(held_out):
            raise where.error(
                f"is {name!r}, but no images are held out; set 'validation' in base, or in the "
                "prepared run whose data a trial takes"
            )


def check_split(study: Study, searched: list[bool | None], place: Place) -> None:
    """Raise ConfigError for a measurement that the test split does not give.

    ``searched`` tells of each point whether people are looked for in it, None if only reading the
    data would tell; the metric is needed of all of them.
    """
    for where, name in _names(study, place):
        enough = all if where.path == ("metric",) else any
        if FOUND.fullmatch(name) and not enough(each is not False for each in searched):
            raise where.error(
                f"is {name!r}, but its data sets are tested by their classes, which gives "
                f"test_accuracy and the like; people are looked for in {' and '.join(SEARCHED)}"
            )
        if of_test(name) and not enough(each is not True for each in searched):
            raise where.error(
                f"is {name!r}, but in {' and '.join(SEARCHED)} people are found again by features, which "
                "gives test_map, test_rank1 and the like"
            )


def of_test(name: str) -> bool:
    """Whether a measurement is one of how well classes are told apart on the test split."""
    return bool(CLASSIFIED.fullmatch(name)) and "validation_" not in name


def is_searched(config: RunConfig) -> bool | None:
    """Whether people are looked for in a trial's test split; None if only reading the data would tell."""
    if isinstance(config.dataset, str) and ":" not in config.dataset:
        return config.dataset in SEARCHED
    return None


def holds_out(study: Study, spec: TrialSpec, config: RunConfig) -> bool:
    """Whether a trial has a validation split, its own or that of the teachers' run."""
    if config.validation is not None:
        return True
    folder = referred(spec.values.get("teachers"))
    runs = (run for name, run in study.runs.items() if (folder or "").startswith(f"run-{name}."))
    return any(run.values.get("validation") is not None for run in runs)


def _names(study: Study, place: Place) -> Iterator[tuple[Place, str]]:
    yield place.at("metric"), study.metric
    report = place.at("report")
    yield from ((report.at("metrics", n), name) for n, name in enumerate(study.report.metrics))
    figure = study.report.figure
    if isinstance(figure, LinesFigure | BarsFigure):
        yield from ((report.at("figure", "y", n), name) for n, name in enumerate(figure.y))
    elif isinstance(figure, HeatmapFigure):
        yield report.at("figure", "value"), figure.value
