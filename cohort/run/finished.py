"""Runs that ended, read again: their students, their teachers, and the data they learned from."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from cohort.config import DataConfig
from cohort.config_file import read_config, validate
from cohort.data.class_names import in_order_of
from cohort.data.dataset import ImageDataset, Search
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from cohort.learning.student_files import ModelCard, read_card, trained_student
from cohort.run.folder import RunFolder
from cohort.run.storage import to_read
from cohort.trust import TRUST, refuse_keys


@dataclass(frozen=True, kw_only=True)
class RunData(DataConfig):
    """What every kind of run's config says of its data, and what some say of their teachers."""

    seed: int = 0
    teacher: str | None = None
    """Of a cohort, what teaches its students; of self-distillation, the folder of a teacher."""
    teachers: str | None = None
    """The folder of the run whose students are the teachers."""
    choose: tuple[int, ...] | None = None
    """Their numbers, in order; None: all."""

    def refuse_code(self, folder: RunFolder, trust_code: bool) -> None:
        """Raise ConfigError if the data are made by code that the config names, unless it is trusted."""
        refuse_keys({"dataset": self.dataset}, folder.config, {TRUST: trust_code})


class LoadedRun(NamedTuple):
    """A run's students in evaluation mode, its data, and the name of its folder."""

    students: tuple[nn.Module, ...]
    dataset: ImageDataset
    name: str
    folder: RunFolder
    trust_code: bool
    """Whether the code that its files name may be run."""
    numbers: tuple[int, ...]
    """Of the students; some are missing where students were dropped."""
    networks: tuple[str, ...]
    """Of the students, as their model.json names them."""
    settings: Mapping[str, Any]
    """The keys and values of its config.yaml."""

    @property
    def seed(self) -> int:
        """What all random numbers of the run came from."""
        return int(self.settings.get("seed", 0))


def load_run(
    run_dir: str | Path, data_root: str | None = None, *, trust_code: bool = False
) -> LoadedRun:
    """Read the students and the data of a finished run; raises as ``load_students`` does."""
    students, dataset = load_students(run_dir, data_root, trust_code=trust_code)
    numbers, networks, modules = zip(*students, strict=True)
    folder = to_read(run_dir)
    return LoadedRun(
        students=modules,
        dataset=dataset,
        name=folder.path.resolve().name,
        folder=folder,
        trust_code=trust_code,
        numbers=numbers,
        networks=networks,
        settings=read_config(folder.config),
    )


def load_students(
    run_dir: str | Path, data_root: str | None = None, *, trust_code: bool = False
) -> tuple[list[tuple[int, str, nn.Module]], ImageDataset]:
    """Number, network and module of every student of a finished run of any kind, and its data.

    ``data_root`` says where the data lie now, if elsewhere; their labels are as the students count
    their classes. Raises ConfigError if the folder holds no trained students, or the data are not
    there, or are of other classes, or if one of them is code of which ``trust_code`` is not said.
    """
    folder = to_read(run_dir).opened()
    found = student_folders(folder)
    config = read_run_data(folder, data_root)
    cards = {number: read_card(path) for number, path in found.items()}
    students: list[tuple[int, str, nn.Module]] = [
        (number, cards[number].network, trained_student(path, trust_code=trust_code))
        for number, path in found.items()
    ]
    config.refuse_code(folder, trust_code)
    dataset = load_dataset(config, config.seed)
    if isinstance(dataset.test, Search):  # whose people no network learned
        return students, dataset
    return students, in_order_of(dataset, _common_classes(cards, folder), f"the run in {run_dir}")


def _common_classes(cards: Mapping[int, ModelCard], folder: RunFolder) -> tuple[str, ...]:
    """The classes of all students. Raises ConfigError if they count them differently."""
    first, *others = {card.classes: number for number, card in cards.items()}
    if others:
        raise ConfigError(
            f"{folder.given} has students that know other classes than each other, or in another order, "
            "which no run leaves; look at students/*/model.json"
        )
    return first


def load_teachers(folder: RunFolder, *, trust_code: bool = False) -> tuple[nn.Module, ...]:
    """The networks that taught a run, in evaluation mode and in the order of its members.

    Raises ConfigError if its config names no run of teachers, or that run has not these students, or
    they know other classes than the run's own, or are of code that is not trusted.
    """
    config, file = read_run_data(folder, None), folder.config
    if config.teachers is None:
        raise ConfigError(f"{file} names no teachers")
    try:
        found = student_folders(to_read(config.teachers).opened())
    except ConfigError as error:
        raise ConfigError(f"{file} names teachers: {config.teachers}, but {error}") from error
    chosen = tuple(found) if config.choose is None else config.choose
    if missing := [number for number in chosen if number not in found]:
        raise ConfigError(
            f"{file} chooses teacher {missing[0]}, but {config.teachers} has only "
            f"{', '.join(map(str, found))}"
        )
    own = read_card(next(iter(student_folders(folder).values()))).classes
    if any(read_card(found[number]).classes != own for number in chosen):
        raise ConfigError(
            f"{file} names teachers: {config.teachers}, but they know other classes now, or in another "
            f"order, than the students of {folder.given}"
        )
    return tuple(trained_student(found[number], trust_code=trust_code) for number in chosen)


def student_folders(folder: RunFolder) -> dict[int, Path]:
    """Where the trained students of a run lie, by number; ConfigError if there are none."""
    found = {
        int(path.name): path for path in folder.path.glob("students/*") if path.name.isdecimal()
    }
    if not found:
        raise ConfigError(
            f"{folder.given} holds no trained students: its run has not ended; --resume it first"
        )
    return dict(sorted(found.items()))


def student_folder(run_dir: str | Path, student: int) -> Path:
    """Where student ``student`` of a finished run lies. Raises ConfigError if there is none."""
    trained = student_folders(to_read(run_dir).opened())
    if student not in trained:
        raise ConfigError(
            f"--student is {student}, but {run_dir} has trained students {', '.join(map(str, trained))}"
        )
    return trained[student]


def students_of(run_dir: str, flag: str, or_else: str = "") -> dict[int, Path]:
    """The folders of a finished run's students, by their numbers, for a user who named the run.

    Raises ConfigError if ``run_dir``, given by ``flag``, is not the folder of a finished run;
    ``or_else`` is what the flag takes besides.
    """
    folder = to_read(run_dir)
    if not folder.is_there:
        raise ConfigError(
            f"{flag} {run_dir} is not the folder of a run; name that of a finished one{or_else}"
        )
    status = folder.read_summary().get("status")
    if status != "finished":
        raise ConfigError(
            f"{flag} {run_dir} is a run that is {status}, not finished; --resume it first"
        )
    try:
        return student_folders(folder)
    except ConfigError as error:
        raise ConfigError(f"{flag} {error}") from error


def read_run_data(folder: RunFolder, data_root: str | None) -> RunData:
    """What a run's config says of its data and teachers. Raises ConfigError if it says nothing of data."""
    known = {field.name for field in dataclasses.fields(RunData)}
    values = {key: value for key, value in read_config(folder.config).items() if key in known}
    if "dataset" not in values:  # an empty one would mean the default
        raise ConfigError(f"{folder.config} is of no run: it has no key 'dataset'")
    config = validate(values, RunData, {}, folder.config)
    return config if data_root is None else dataclasses.replace(config, data_root=data_root)
