"""A run's configuration beside its recipe, and the command that repeats it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from cohort.commands import COMMANDS
from cohort.config import flag
from cohort.config_file import plain
from cohort.data.recipes import Recipe, ods_recipe, recipe_for, self_distillation_recipe
from cohort.invocation import as_argument, command_line
from cohort.jobs.config import JobConfig
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.self_distill.config import CONSTANTS
from cohort.report.reading import RunFiles
from cohort.report.tables import Heading, Table
from cohort.run.command import Command
from cohort.trust import names_code

NETWORK = {"train": "students", "self-distill": "model"}
"""The key of the network that the recipe names."""
RECIPES = {"train": recipe_for, "self-distill": self_distillation_recipe, "ods-distill": ods_recipe}
OF_TEACHERS = (
    *("data_root", "image_size", "train_subset", "test_subset", "validation", "data_seed"),
)
"""Keys that a student of an ensemble has from the run of its teachers, if nobody says otherwise."""
JOB = tuple(field.name for field in dataclasses.fields(JobConfig))
FOUND = ("threads",)
"""Keys that a run fills in by the machine, if nobody says otherwise."""
ELSEWHERE = ("run_dir",)
"""Keys that a repetition has of its own."""


class Setting(NamedTuple):
    """A key of a run's configuration."""

    key: str
    value: Any
    usual: Any
    """What recipe, method or default say."""
    known: bool
    """Whether they say anything: not of the data set, nor of what is found in the run of the teachers."""

    @property
    def differs(self) -> bool:
        """Whether the run has something else."""
        return self.known and self.key not in FOUND and bool(self.value != self.usual)


def settings(run: RunFiles) -> list[Setting]:
    """Every key of a run's config.yaml, in its order; none if there is no config."""
    usual = usual_values(run.command, run.config)
    return [
        Setting(key, value, usual.get(key), key in usual)
        for key, value in run.config.items()
        if key not in ELSEWHERE
    ]


def usual_values(name: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the command's defaults, the recipe of its data set and its method say, by key."""
    if name is None:
        return {}
    command = next(command for command in COMMANDS if command.name == name)
    usual: dict[str, Any] = _defaults(command) | _of_recipe(name, config) | _of_method(name, config)
    del usual["dataset"]  # whose recipe it is
    if name != "ods-distill":
        return usual
    own = [field.name for field in dataclasses.fields(OdsConfig) if field.name not in JOB]
    found = [key for key in own if usual[key] is None]
    return {key: value for key, value in usual.items() if key not in (*found, *OF_TEACHERS)}


def repeat_by_file(run: RunFiles) -> str:
    """The command that repeats a run from its folder, quoted for the shell."""
    trusts = ("--trust-code",) * names_code(run.config)
    words = ("--config", as_argument(f"{run.folder.given}/config.yaml"), *trusts)
    return command_line(run.command or "train", *words)


def repeat_by_flags(run: RunFiles) -> str:
    """The command that repeats a run without its folder: all that is not as its recipe has it."""
    words: list[str] = []
    for setting in settings(run):
        usual = setting.known and not setting.differs and setting.key not in FOUND
        if setting.value is None or usual:
            continue
        if isinstance(setting.value, bool):
            words.append(flag(setting.key) if setting.value else f"--no-{flag(setting.key)[2:]}")
        else:
            words += [flag(setting.key), as_argument(text_of(setting.value))]
    return command_line(run.command or "train", *words)


def settings_table(found: list[Setting], name: str, title: str) -> Table:
    """Key, value and what is usual; marked where they differ."""
    rows = [
        (s.key, text_of(s.value), text_of(s.usual) if s.known else "", "≠" * s.differs)
        for s in found
    ]
    return Table(
        name=name,
        title=title,
        headings=(Heading("key"), Heading("value"), Heading("recipe or default"), Heading("")),
        rows=rows,
        data=[
            {
                "key": s.key,
                "value": s.value,
                "usual": s.usual if s.known else None,
                "differs": s.differs,
            }
            for s in found
        ],
        marked=frozenset(number for number, s in enumerate(found) if s.differs),
    )


def text_of(value: Any) -> str:
    """A value as one writes it behind a flag; none as a dash."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ",".join(map(text_of, value))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _defaults(command: Command[Any]) -> dict[str, Any]:
    return {
        field.name: plain(field.default)
        for field in dataclasses.fields(command.config)
        if field.default is not dataclasses.MISSING
    }


def _of_recipe(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    dataset = config.get("dataset")
    recipe = RECIPES[name](dataset if isinstance(dataset, str) else "")
    filled: dict[str, Any] = {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(Recipe)
        if field.name != "network"
    }
    epochs = config.get("epochs")
    if isinstance(epochs, int):  # a warm-up stays the same share of them
        filled["warmup_epochs"] = recipe.warmup_epochs * epochs / recipe.epochs
    return filled | ({NETWORK[name]: recipe.network} if name in NETWORK else {})


def _of_method(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    method = config.get("method") if name == "self-distill" else None
    return {
        key: value
        for known, terms in CONSTANTS.items()
        if known == method
        for key, value in terms.items()
    }
