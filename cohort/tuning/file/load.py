"""The file of a study: read, checked, and written again. Imports neither torch nor ray."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cohort import formats
from cohort.config_file import names_of, read_keys
from cohort.errors import ConfigError
from cohort.tuning.commands import COMMANDS
from cohort.tuning.file.axes import read_axis, written_axis
from cohort.tuning.file.check import check_study
from cohort.tuning.file.reading import (
    Place,
    check_keys,
    listed,
    mapping,
    record,
    tagged,
    with_numbers,
)
from cohort.tuning.file.smoke import with_smoke
from cohort.tuning.report import BarsFigure, HeatmapFigure, LinesFigure, NoiseFigure, Report
from cohort.tuning.space import Axis
from cohort.tuning.study import (
    Asha,
    GridSearch,
    Median,
    NoScheduler,
    OptunaSearch,
    Pbt,
    PreparedRun,
    RandomSearch,
    Resources,
    Study,
)

KEYS = tuple(name for name in names_of(Study) if name != "name")
SCHEDULERS = {"none": NoScheduler, "asha": Asha, "median": Median, "pbt": Pbt}
SEARCHES = {"grid": GridSearch, "random": RandomSearch, "optuna": OptunaSearch}
FIGURES = {
    "lines": LinesFigure,
    "bars": BarsFigure,
    "heatmap": HeatmapFigure,
    "noise": NoiseFigure,
}


def load_study(path: str | Path, *, smoke: bool = False) -> Study:
    """A study from its YAML file, called like the file; ``smoke`` applies the section of that name.

    Raises:
        ConfigError: naming the file and the key path, if anything in it cannot be done.
    """
    place = Place(str(path))
    document = with_numbers(read_keys(path, str(path), formats.STUDY))
    check_keys(mapping(document, place), (*KEYS, "smoke"), place)
    changes = mapping(document.pop("smoke", {}), place.at("smoke"))
    check_keys(changes, KEYS, place.at("smoke"))
    name = Path(path).stem
    if smoke:
        if not changes:
            raise ConfigError(f"{path} has no smoke size; write one under the key 'smoke'")
        document, name = with_smoke(document, changes), f"{name}-smoke"
    study = _read(document, name, place)
    check_study(study, place)
    return study


def to_yaml(study: Study) -> str:
    """The YAML text of a study, from which ``load_study`` reads the same, but for its name."""
    values = _plain(study)
    del values["name"]
    return yaml.safe_dump({formats.KEY: formats.STUDY, **values}, sort_keys=False)


def _read(document: Mapping[str, Any], name: str, place: Place) -> Study:
    """The study without a look at how its parts fit together."""
    values = dict(document)
    for key in ("base", "runs", "space", "report", "resources"):
        values[key] = mapping(values.get(key, {}), place.at(key))
    for key, read in (("runs", _read_run), ("space", read_axis)):
        below = place.at(key)
        values[key] = {name: read(value, below.at(name)) for name, value in values[key].items()}
    without = listed(values.get("without", []), place.at("without"))
    values["without"] = [
        mapping(labels, place.at("without", n)) for n, labels in enumerate(without)
    ]
    if "scheduler" in values:
        values["scheduler"] = _read_scheduler(values["scheduler"], place.at("scheduler"))
    if "search" in values:
        values["search"] = tagged(SEARCHES, values["search"], place.at("search"))
    values["resources"] = record(Resources, values["resources"], place.at("resources"))
    values["report"] = _read_report(values, place.at("report"))
    return record(Study, {**values, "name": name}, place)


def _read_run(value: Any, place: Place) -> PreparedRun:
    values = dict(mapping(value, place))
    if "command" not in values:
        raise place.at("command").error(f"is missing; it must be one of {', '.join(COMMANDS)}")
    return record(PreparedRun, {"command": values.pop("command"), "values": values}, place)


def _read_scheduler(value: Any, place: Place) -> Any:
    value = dict(mapping(value, place))
    if value.get("kind") == "pbt" and "mutate" in value:
        below = place.at("mutate")
        axes = mapping(value["mutate"], below)
        value["mutate"] = {key: read_axis(axis, below.at(key)) for key, axis in axes.items()}
    return tagged(SCHEDULERS, value, place)


def _read_report(document: Mapping[str, Any], place: Place) -> Report:
    # A metric that is missing is missed by the study itself.
    values = {"metrics": [document.get("metric", "")], **document["report"]}
    if values.get("figure") is not None:
        values["figure"] = tagged(FIGURES, values["figure"], place.at("figure"))
    return record(Report, values, place)


def _plain(value: Any) -> Any:
    """A part of a study as it stands in YAML; keys of sections that are None are left out."""
    if isinstance(value, Axis):
        return _plain(written_axis(value))
    if isinstance(value, PreparedRun):
        return {"command": value.command, **_plain(value.values)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((name, getattr(value, name)) for name in names_of(type(value)))
        return {name: _plain(item) for name, item in items if item is not None}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
