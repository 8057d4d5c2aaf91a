"""What tables and figures of studies call measurements and settings, and in which unit."""

from collections.abc import Mapping, Sequence
from typing import Any

from cohort.reporting.formatting import DASH

SHARES = ("accuracy", "agreement", "map", "rank1", "rank5", "rank10")
"""Fractions in files, shown in percent."""
UNITS = dict.fromkeys(SHARES, "%") | dict.fromkeys(("nll", "cnll", "entropy", "diversity"), "nat")
SPELLED = {word: word.upper() for word in ("nll", "cnll", "ece", "cece", "dee")} | {
    "map": "mAP",
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
}
OTHER_MAP = "map_trapezoid"


def kind_of(metric: str) -> str:
    """What a measurement is, whoever and whatever data it is of.

    Example:
        >>> kind_of("ensemble_test_accuracy"), kind_of("test_multi_map_trapezoid")
        ('accuracy', 'map')
    """
    return "map" if metric.endswith(OTHER_MAP) else metric.rpartition("_")[2]


def scale_of(metric: str) -> float:
    """By what to multiply for its unit."""
    return 100 if is_share(metric) else 1


def is_share(metric: str) -> bool:
    """Whether a measurement is shown in percent, such as an accuracy."""
    return kind_of(metric) in SHARES


def words(metric: str) -> str:
    """A measurement's name in words.

    Example:
        >>> words("ensemble_test_nll")
        'ensemble test NLL'
    """
    parts = metric.split("_")
    return " ".join(SPELLED.get(part, part) for part in parts)


def with_unit(metric: str) -> str:
    """A measurement's name in words, and its unit if it has one.

    Example:
        >>> with_unit("test_accuracy"), with_unit("dee")
        ('test accuracy / %', 'DEE')
    """
    unit = UNITS.get(kind_of(metric))
    return words(metric) if unit is None else f"{words(metric)} / {unit}"


def by_kind(metrics: Sequence[str]) -> dict[str, list[str]]:
    """The measurements that belong on one axis, under the axis' name.

    Example:
        >>> by_kind(["test_accuracy", "dee", "ensemble_test_accuracy"])
        {'accuracy / %': ['test_accuracy', 'ensemble_test_accuracy'], 'DEE': ['dee']}
    """
    groups: dict[str, list[str]] = {}
    for metric in dict.fromkeys(metrics):
        groups.setdefault(kind_of(metric), []).append(metric)
    return {
        with_unit(group[0] if len(group) == 1 else kind): group for kind, group in groups.items()
    }


def value_text(value: Any) -> str:
    """The value of a label, short.

    Example:
        >>> value_text(0.1), value_text(123456), value_text("peers"), value_text(None)
        ('0.1', '123456', 'peers', '–')
    """
    if value is None:
        return DASH
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def point_name(labels: Mapping[str, Any]) -> str:
    """A point by its labels.

    Example:
        >>> point_name({"k": 3, "teacher": "peers"}), point_name({"arm": "dml"}), point_name({})
        ('k=3, teacher=peers', 'dml', '')
    """
    if len(labels) == 1 and isinstance(only := next(iter(labels.values())), str):
        return only
    return ", ".join(f"{name}={value_text(value)}" for name, value in labels.items())
