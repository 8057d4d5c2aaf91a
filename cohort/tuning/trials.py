"""The trials of a study: a config and a name for each point and seed. No torch, no ray."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cohort.config import RunConfig
from cohort.tuning.commands import Command, build_config
from cohort.tuning.space import Point, draw, spanned
from cohort.tuning.study import GridSearch, OptunaSearch, Study

REFERENCE = "run:"
"""How a value begins that stands for the folder of a prepared run."""
LONGEST_NAME = 100


@dataclass(frozen=True)
class TrialSpec:
    """One run of a command with one seed."""

    name: str
    """Its folder's: unique, a function of content alone."""
    command: Command
    labels: Mapping[str, Any]
    seed: int
    values: Mapping[str, Any]
    """All config keys that the study sets, but no run_dir. A prepared run is ``run:FOLDERNAME``."""

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The spec that ``to_dict`` wrote down."""
        return cls(**values)


def points_of(study: Study) -> list[Point]:
    """The points of a grid or random search, but those of ``without``.

    Draws that repeat an earlier one, as of few choices, are left out: they would be the same run.
    """
    assert not isinstance(study.search, OptunaSearch), "Optuna's points are not known beforehand"
    draws: list[dict[str, Any]] = [{}]
    if not isinstance(study.search, GridSearch):
        seed = study.search.seed
        every = (draw(study.space, seed, index) for index in range(study.search.samples))
        draws = list({_json(drawn): drawn for drawn in every}.values())
    return [
        point
        for point in spanned(study.space, draws)
        if not any(matches(point, labels) for labels in study.without)
    ]


def matches(point: Point, labels: Mapping[str, Any]) -> bool:
    """Whether the point has all these labels."""
    return all(point.labels[name] == value for name, value in labels.items())


def trials_of(study: Study, point: Point) -> list[TrialSpec]:
    """A trial for each seed."""
    keys = dict(point.values)
    command = keys.pop("command", study.command)
    return [
        _spec(command, point.labels, seed, _referring(study, {**study.base, **keys}, seed))
        for seed in study.seeds
    ]


def prepared_of(study: Study) -> list[TrialSpec]:
    """A trial for each prepared run and seed."""
    return [_prepared(study, name, seed) for name in study.runs for seed in study.seeds]


def config_of(spec: TrialSpec, run_dir: Path | None, runs: Path) -> RunConfig:
    """The config of a trial, with references replaced by folders below ``runs``.

    Raises:
        ConfigError: beginning with the trial's name, if a value is not allowed.
    """
    return build_config(spec.command, _in_folders(spec, run_dir, runs), spec.name)


def check_config(spec: TrialSpec, where: str) -> RunConfig:
    """The config before there are folders; ConfigErrors begin with ``where``."""
    return build_config(spec.command, _in_folders(spec, None, Path("runs")), where)


def _in_folders(spec: TrialSpec, run_dir: Path | None, runs: Path) -> dict[str, Any]:
    values = {
        key: str(runs / name) if (name := referred(value)) else value
        for key, value in spec.values.items()
    }
    if run_dir is not None:
        values["run_dir"] = str(run_dir)
    return values


def referred(value: Any) -> str | None:
    """The NAME of a value ``run:NAME``; None of another."""
    if isinstance(value, str) and value.startswith(REFERENCE):
        return value.removeprefix(REFERENCE)
    return None


def _referring(study: Study, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The values with references to prepared runs as those to the folders of this seed."""
    return {
        key: REFERENCE + _prepared(study, name, seed).name if (name := referred(value)) else value
        for key, value in values.items()
    }


def _prepared(study: Study, name: str, seed: int) -> TrialSpec:
    run = study.runs[name]
    return _spec(run.command, {"run": name}, seed, run.values)


def _spec(
    command: Command, labels: Mapping[str, Any], seed: int, keys: Mapping[str, Any]
) -> TrialSpec:
    # One thread sums in the same order on any machine.
    values = {"threads": 1, **keys, "seed": seed}
    digest = hashlib.sha256(_json({"command": command, "values": values}).encode()).hexdigest()[:8]
    name = f"{_slug({**labels, 'seed': seed})[: LONGEST_NAME - 9]}.{digest}"
    return TrialSpec(name, command, dict(labels), seed, values)


def _slug(labels: Mapping[str, Any]) -> str:
    parts = [f"{name}-{_short(value)}" for name, value in labels.items()]
    return ".".join(re.sub("[^A-Za-z0-9._-]+", "_", part) for part in parts).lstrip(".-")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
