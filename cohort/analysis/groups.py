"""Runs that differ in their seed alone, which are analysed as one: the groups of a figure."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from cohort.config import RunConfig
from cohort.run.finished import LoadedRun

Row = dict[str, Any]

HOW_AND_WHERE = {
    *RunConfig.EXTENDABLE,
    "download",
    "address",
    "gpus",
    "exchange",
    "per_process",
} | {*("on_failure", "max_failures", "baseline", "checkpoint_every", "eval_every", "log_every")}
"""Keys of configs that change no student, but for how far training goes."""
IGNORED = HOW_AND_WHERE - {"epochs", "steps"} | {"seed", "run_dir"}
BETWEEN = "_. ,-"
"""What stands between the parts of a name."""
SEEDED, LAST = re.compile(f"[{BETWEEN}]*seed[-_.= ]*[0-9]+"), re.compile(f"[{BETWEEN}]*[0-9]+$")
"""In the name of a run: its seed, and any number at the end."""
ALL, ENSEMBLE = "all", "ensemble"
"""Of rows that are about all students of a run together, and about what they answer as one."""


@dataclass(frozen=True)
class Subject:
    """A run that is analysed, and the group that it is in."""

    run: LoadedRun
    group: str
    """The name of all runs that differ from it in seed alone; its own if there is no other."""

    @property
    def head(self) -> Row:
        """How a row begins that is about all students together."""
        return {"group": self.group, "run": self.run.name, "seed": self.run.seed, "student": ALL}

    def students(self) -> Iterator[tuple[Row, nn.Module]]:
        """How the rows of each student begin, and its network.

        Students of unlike networks are of groups by network, for no mean of theirs would say much.
        """
        run = self.run
        names = _short(run.networks)
        unlike = len(set(names)) > 1
        for number, name, student in zip(run.numbers, names, run.students, strict=True):
            group = f"{self.group}: {name}" if unlike else self.group
            yield self.head | {"group": group, "student": number}, student


def grouped(runs: Sequence[LoadedRun]) -> list[Subject]:
    """The runs, each with the name of its group: of those whose configs differ in seed alone.

    How and where a run was run makes no difference, nor does its folder.
    """
    groups: dict[str, list[LoadedRun]] = {}
    for run in runs:
        groups.setdefault(_key(run), []).append(run)
    taken = {run.name for run in runs}
    names: dict[str, str] = {}
    for key, members in groups.items():
        names[key] = group_name([run.name for run in members], taken)
        taken.add(names[key])
    return [Subject(run, names[_key(run)]) for run in runs]


def group_name(names: Sequence[str], taken: set[str] | None = None) -> str:
    """The name of a group's runs without their seeds; the first, and how many more, if there is none.

    Example:
        >>> group_name(["peers-seed10", "peers-seed11"]), group_name(["one", "other", "third"])
        ('peers', 'one+2')
    """
    if len(names) == 1:
        return names[0]
    number = SEEDED if all(map(SEEDED.search, names)) else LAST
    without = {number.sub("", name).strip(BETWEEN) for name in names}
    common = without.pop()
    fits = common and not without and common not in (taken or ())
    return common if fits else f"{names[0]}+{len(names) - 1}"


def _short(networks: Sequence[str]) -> list[str]:
    """Names of networks without the places of their exits, if that tells them apart as well."""
    short = [network.partition("=")[0] for network in networks]
    return short if len(set(short)) == len(set(networks)) else list(networks)


def _key(run: LoadedRun) -> str:
    kept = {key: value for key, value in run.settings.items() if key not in IGNORED}
    return json.dumps(kept, sort_keys=True, default=str)
