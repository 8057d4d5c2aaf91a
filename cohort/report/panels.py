"""Which curves of a run are drawn, in which panel and under which name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cohort.report.curves import Lines, lines_of, mean_lines, measurement, part
from cohort.report.rates import rates_of
from cohort.report.reading import RunFiles
from cohort.reporting.records import Record
from cohort.tuning.results.naming import scale_of, with_unit

PHASES = {"train": "training", "validation": "validation", "test": "test"}
ENSEMBLE = "ensemble"
HEAD = ("time", "phase", "step", "epoch", "student")
ORDER = (
    *("loss", "ce", "kl", "hint", "accuracy", "map", "rank1", "nll", "ece", "entropy"),
    *("agreement", "pairwise_kl", "diversity", "teacher_diversity"),
)
"""Measurements with a panel of their own, the first ones first; others follow by name."""
WITHOUT = (
    *("brier", "temperature", "cnll", "cbrier", "cece", "map_trapezoid", "rank5", "rank10", "lr"),
    *("unmatched_queries", "teacher_diversity"),
)
"""Measurements that stand in tables, or in another's panel."""
OF_PAIRS = ("agreement", "pairwise_kl")
"""Measurements of the cohort that are means over pairs of its students."""
UNITS = {
    "lr": "learning rate",
    "ce": "cross-entropy / nat",
    "kl": "KL / nat",
    "pairwise_kl": "KL / nat",
}
TITLES = {
    "loss": "Loss",
    "ce": "Cross-entropy",
    "kl": "Divergence from the teachers",
    "hint": "Distance of features",
    "accuracy": "Accuracy",
    "map": "mAP",
    "rank1": "Rank-1",
    "nll": "Negative log-likelihood",
    "ece": "Calibration error",
    "entropy": "Entropy of the posterior, as it learns",
    "agreement": "Agreement of the students",
    "pairwise_kl": "Divergence between the students",
    "diversity": "Diversity of the members",
}


class Series(NamedTuple):
    """Lines with a name: their mean is drawn, and they themselves faintly."""

    label: str
    lines: Lines
    number: int
    """Decides colour, dash and marker; the same for the same thing in every panel."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure of curves."""

    name: str
    title: str
    axis: str
    series: Sequence[Series]


def panels_of_run(run: RunFiles) -> list[Panel]:
    """A panel for each measurement: training beside validation, test and ensemble."""
    found = [_panel(run.records, key) for key in measured(run.records)]
    found += [
        _panel_of_parts(run.records, name, key)
        for name in ("exits", "members")
        for key in ("accuracy", "map")
    ]
    if len(set(networks := networks_of(run))) > 1:
        found += [_panel_of_students(run.records, networks, key) for key in ("accuracy", "map")]
    found.append(_panel_of_rates(run))
    return [panel for panel in found if panel is not None]


def panels_of_groups(groups: Mapping[str, Sequence[RunFiles]]) -> list[Panel]:
    """A panel for each measurement and split, in it a line for each group of runs."""
    everything = [record for runs in groups.values() for run in runs for record in run.records]
    return [
        panel
        for key in measured(everything)
        for phase, ensemble in (
            ("train", False),
            ("validation", False),
            ("test", False),
            ("test", True),
        )
        if (panel := _panel_of_groups(groups, key, phase, ensemble)) is not None
    ]


def measured(records: Sequence[Record]) -> list[str]:
    """The measurements with a panel, in order."""
    keys = {
        key
        for record in records
        for key, value in record.items()
        if value is None or isinstance(value, int | float)
    }
    keys -= {*HEAD, *WITHOUT}
    keys = {key for key in keys if not key.startswith("multi_")}
    return [key for key in ORDER if key in keys] + sorted(keys - set(ORDER))


def _panel(records: Sequence[Record], key: str) -> Panel | None:
    choose = measurement(key, scale_of(key))
    found = []
    for number, (phase, label) in enumerate(PHASES.items()):
        of_students = (r for r in records if r["phase"] == phase and isinstance(r["student"], int))
        found.append((label, lines_of(of_students, choose, _student), number))
    of_ensemble = (r for r in records if r["phase"] == "test" and r["student"] == ENSEMBLE)
    whose = "pairs of students" if key in OF_PAIRS else ENSEMBLE
    found.append((f"{whose}, test", lines_of(of_ensemble, choose, _student), 3))
    if key == "diversity":
        choose = measurement("teacher_diversity")
        found.append(("teachers, training", lines_of(records, choose, _student), 4))
    return _made(key, TITLES.get(key, key.replace("_", " ")), found)


def _panel_of_parts(records: Sequence[Record], name: str, key: str) -> Panel | None:
    """The exits of a network, or the members of a student, each by itself."""
    tested = [r for r in records if r["phase"] == "test" and name in r]
    most = max((_parts(r, name, key) for r in tested), default=0)
    counted = 1 if name == "exits" else 0  # as the tables count them
    found = [
        (
            f"{name[:-1]} {n + counted}",
            lines_of(tested, part(name, key, n, scale_of(key)), _student),
            n,
        )
        for n in range(most)
    ]
    title = f"{TITLES[key]} of the {name}, test"
    return _made(key, title, found, f"{key}-{name}")


def networks_of(run: RunFiles) -> list[str]:
    """The networks of a cohort's students, by their numbers, as far as its config tells."""
    named = run.config.get("students")
    if isinstance(named, str):
        return [name.strip() for name in named.split(",")]
    return [str(name) for name in named] if isinstance(named, list) else []


def _panel_of_students(
    records: Sequence[Record], networks: Sequence[str], key: str
) -> Panel | None:
    """Each student by itself, where they are unlike."""
    tested = [record for record in records if record["phase"] == "test"]
    choose = measurement(key, scale_of(key))
    found = [
        (f"{k} {network}", lines_of((r for r in tested if r["student"] == k), choose, _student), k)
        for k, network in enumerate(networks)
    ]
    return _made(key, f"{TITLES[key]} of the students, test", found, f"{key}-students")


def _panel_of_rates(run: RunFiles) -> Panel | None:
    return _made("lr", "Learning rate", [("", rates_of(run), 0)])


def _panel_of_groups(
    groups: Mapping[str, Sequence[RunFiles]], key: str, phase: str, ensemble: bool
) -> Panel | None:
    found = []
    for number, (name, runs) in enumerate(groups.items()):
        of_runs = {
            run.name: lines
            for run in runs
            if (lines := _lines_of_run(run, key, phase, ensemble)) is not None
        }
        found.append((name, mean_lines(of_runs) if of_runs else None, number))
    who = f"ensemble, {PHASES[phase]}" if ensemble else PHASES[phase]
    title = f"{TITLES.get(key, key.replace('_', ' '))}, {who}"
    return _made(key, title, found, f"{key}-{'ensemble-' if ensemble else ''}{phase}")


def _lines_of_run(run: RunFiles, key: str, phase: str, ensemble: bool) -> Lines | None:
    records = (
        record
        for record in run.records
        if record["phase"] == phase
        and (record["student"] == ENSEMBLE if ensemble else isinstance(record["student"], int))
    )
    return lines_of(records, measurement(key, scale_of(key)), _student)


def _made(
    key: str, title: str, found: Sequence[tuple[str, Lines | None, int]], name: str | None = None
) -> Panel | None:
    series = [Series(label, lines, number) for label, lines, number in found if lines is not None]
    if not series:
        return None
    axis = UNITS.get(key) or with_unit(key)
    return Panel(name=name or key, title=title, axis=axis, series=series)


def _student(record: Record) -> str:
    return str(record["student"])


def _parts(record: Record, name: str, key: str) -> int:
    values = record[name].get(key) if isinstance(record[name], dict) else None
    return len(values) if isinstance(values, list) else 0
