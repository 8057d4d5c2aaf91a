"""Finished runs, read for analysis: the first student and the data it learned from."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import nn

from cohort.config import DataConfig
from cohort.config_file import read_config, validate
from cohort.data.dataset import ImageDataset
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from cohort.learning.student_files import load_student, read_card
from cohort.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class RunData(DataConfig):
    """What every kind of run's config says of its data."""

    seed: int = 0


class LoadedRun(NamedTuple):
    """A run's student 0 in evaluation mode, its data, and the name of its folder."""

    student: nn.Module
    dataset: ImageDataset
    name: str


def load_run(run_dir: str | Path, data_root: str | None = None) -> LoadedRun:
    """Read the first student and the data of a finished run; raises as ``load_students`` does."""
    students, dataset = load_students(run_dir, data_root)
    return LoadedRun(students[0][2], dataset, Path(run_dir).resolve().name)


def load_students(
    run_dir: str | Path, data_root: str | None = None
) -> tuple[list[tuple[int, str, nn.Module]], ImageDataset]:
    """Number, network and module of every student of a finished run of any kind, and its data.

    ``data_root`` says where the data lie now, if elsewhere. Raises ConfigError if the folder holds
    no trained students, or the data are not there.
    """
    folder = RunFolder.open(run_dir)
    found = sorted(
        (path for path in folder.path.glob("students/*") if path.name.isdecimal()),
        key=lambda path: int(path.name),
    )
    if not found:
        raise ConfigError(
            f"{run_dir} holds no trained students: its run has not ended; --resume it first"
        )
    config = read_run_data(folder, data_root)
    students: list[tuple[int, str, nn.Module]] = [
        (int(path.name), read_card(path).network, load_student(path)) for path in found
    ]
    return students, load_dataset(config, config.seed)


def read_run_data(folder: RunFolder, data_root: str | None) -> RunData:
    """What a run's config says of its data."""
    known = {field.name for field in dataclasses.fields(RunData)}
    values = {key: value for key, value in read_config(folder.config).items() if key in known}
    config = validate(values, RunData, {}, folder.config)
    return config if data_root is None else dataclasses.replace(config, data_root=data_root)


def distinct_names(run_dirs: Sequence[str]) -> list[str]:
    """As many last parts of each path as tell all of them apart, joined by hyphens.

    Raises:
        ConfigError: if a folder is given twice.

    Example:
        >>> distinct_names(["/runs/a/alone", "/runs/b/alone"])
        ['a-alone', 'b-alone']
    """
    paths = [Path(run_dir).resolve() for run_dir in run_dirs]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise ConfigError(
                f"RUN_DIR {run_dirs[number]} is given twice; each run must be another"
            )
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["-".join(path.parts[-count:]).replace("/", "") for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"RUN_DIRs {' '.join(run_dirs)} cannot be told apart by their names")
