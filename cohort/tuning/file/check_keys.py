"""Whether every key that a study sets is one of its command, with a value of the right type."""

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cohort.config_file import names_of
from cohort.trust import TRUST
from cohort.tuning.axes import Axis, Cases, Choice, Grid, Zip, keys_of
from cohort.tuning.commands import COMMANDS, CONFIGS, Command
from cohort.tuning.file.check_metrics import CONCLUDED, EVALUATED
from cohort.tuning.file.reading import Place, reason
from cohort.tuning.space import draw, labels_of
from cohort.tuning.study import Study
from cohort.tuning.trials import referred

RESERVED = {
    "seed": "seeds come from the study's key 'seeds'",
    "run_dir": "every trial has a folder in the study's",
    "address": "all trials join the study's cluster",
    "baseline": "the report's baseline is another point",
    TRUST: "only who starts it can trust its file, by --trust-code",
    "balance": "all processes of a trial get as much, by its key 'resources'",
}
"""Config keys that a study decides itself, and how."""


TAKEN = re.compile(
    r"trial|trials|status|command|seed|n|pairs|dropped|trained_steps|trained_epochs"
    r"|(test|validation|student|ensemble)_.*|(config|version)\..*|.*_(mean|se|diff|diff_low|diff_high)"
)
"""Columns of a study's tables, besides those of measurements."""


@dataclass(frozen=True)
class Assignment:
    """A key, the value that it gets, by which commands it is read, and where it stands."""

    place: Place
    key: str
    value: Any
    commands: tuple[Command, ...]

    @property
    def of_key(self) -> Place:
        """Where the key itself stands: the name of an axis lies above its kind and its values."""
        above = dataclasses.replace(self.place, path=self.place.path[:-1])
        return self.place if self.place.path[-1] == self.key else above


def check_axes(study: Study, place: Place) -> None:
    """Raise ConfigError if two axes set the same key or are called the same, or like a column."""
    owners: dict[str, str] = {}
    for name, axis in study.space.items():
        if isinstance(axis, Cases):
            _check_free_name(name, place.at("space", name))
        for key in {*keys_of(name, axis), *labels_of({name: axis})}:
            if key in owners:
                raise place.at("space", name).error(
                    f"has {key!r}, as has space.{owners[key]}; a key belongs to one axis"
                )
            owners[key] = name


def _check_free_name(name: str, place: Place) -> None:
    """Raise ConfigError if the tables have such a column; other labels are config keys, and none."""
    if any(pattern.fullmatch(name) for pattern in (TAKEN, EVALUATED, CONCLUDED)):
        raise place.error("is called like a column of the study's tables; give it another name")


def check_config_keys(study: Study, place: Place) -> None:
    """Raise ConfigError for a key or value that its command does not take, and for an unused run."""
    commands = _commands(study, place)
    used = set()
    for found in (*_trial_keys(study, commands, place), *_run_keys(study, place.at("runs"))):
        _check_key(found)
        name = referred(found.value)
        if name is None:
            _check_type(found)
            continue
        used.add(name)
        inside = found.place.path[0] == "runs"
        if inside or name not in study.runs:
            raise found.place.error(f"is {found.value!r}; {_allowed(study, inside)}")
    for name in study.runs:
        if name not in used:
            raise place.at("runs", name).error(
                f"is used by no trial; name it as the value 'run:{name}', or leave it out"
            )


def _allowed(study: Study, inside_run: bool) -> str:
    if inside_run:
        return "a prepared run refers to no other"
    runs = ", ".join(f"run:{name}" for name in study.runs)
    return f"it must be one of {runs}" if runs else "the study has no runs"


def _commands(study: Study, place: Place) -> tuple[Command, ...]:
    """The commands of all points."""
    nowhere: dict[tuple[str, ...], Mapping[str, Any]] = {(): {}}
    found = []
    for where, keys in (_cases_with_command(study) or nowhere).items():
        here = place.at(*where, "command")
        command = keys.get("command", study.command)
        if command not in COMMANDS:
            said = "is missing" if command is None else f"is {command!r}"
            raise here.error(f"{said}; it must be one of {', '.join(COMMANDS)}")
        found.append(command)
    return tuple(dict.fromkeys(found))


def _cases_with_command(study: Study) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """The cases, by their paths, of the axis that sets the command."""
    return {
        ("space", name, "cases", case): keys
        for name, axis in study.space.items()
        if isinstance(axis, Cases) and "command" in keys_of(name, axis)
        for case, keys in axis.cases.items()
    }


def _trial_keys(study: Study, commands: tuple[Command, ...], place: Place) -> Iterator[Assignment]:
    for key, value in study.base.items():
        yield Assignment(place.at("base", key), key, value, commands)
    own = _cases_with_command(study)
    for name, axis in study.space.items():
        here = place.at("space", name)
        if not isinstance(axis, Cases):
            yield from _axis_keys(name, axis, commands, here)
            continue
        for case, keys in axis.cases.items():
            path = here.at("cases", case)
            takers = (keys.get("command", study.command),) if path.path in own else commands
            for key, value in keys.items():
                if key != "command":
                    yield Assignment(path.at(key), key, value, takers)


def _axis_keys(
    name: str, axis: Axis, commands: tuple[Command, ...], place: Place
) -> Iterator[Assignment]:
    """Every value of an axis that is no case; of an interval one draw."""
    place = place.at(axis.kind)
    if isinstance(axis, Zip):
        for key, values in axis.lists.items():
            yield from (Assignment(place.at(key), key, value, commands) for value in values)
    elif isinstance(axis, Grid | Choice):
        yield from (Assignment(place, name, value, commands) for value in axis.values)
    else:
        yield Assignment(place, name, draw({name: axis}, 0, 0)[name], commands)


def _run_keys(study: Study, place: Place) -> Iterator[Assignment]:
    for name, run in study.runs.items():
        for key, value in run.values.items():
            yield Assignment(place.at(name, key), key, value, (run.command,))


def _check_key(found: Assignment) -> None:
    place, key = found.of_key, found.key
    if key in RESERVED:
        raise place.error(f"sets {key!r}, which a study decides: {RESERVED[key]}; leave it out")
    for command in found.commands:
        names = [name for name in names_of(CONFIGS[command]) if name not in RESERVED]
        if key not in names:
            raise place.unknown(names, f" of {command}")


def _check_type(found: Assignment) -> None:
    for command in found.commands:
        try:
            _adapter(command, found.key).validate_python(found.value)
        except ValidationError as error:
            raise found.place.error(f"is {found.value!r}: {reason(error)}") from error


@cache
def _adapter(command: Command, key: str) -> TypeAdapter[Any]:
    return TypeAdapter(typing.get_type_hints(CONFIGS[command])[key])
