"""A run around its training: a new folder or the old one, what may change on resuming, how it ended."""

import contextlib
import dataclasses
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from cohort.config import DataConfig, RunConfig, flag
from cohort.config_file import load_config, plain, to_yaml
from cohort.errors import ConfigError, RunError
from cohort.files import atomic_write
from cohort.imports import one_line, written_name
from cohort.learning.learner import Learner
from cohort.learning.plan import TrainingPlan
from cohort.run.checkpoint import Checkpoint, newest_checkpoint
from cohort.run.folder import RunFolder

Config = TypeVar("Config", bound=RunConfig)
Resumed = tuple[RunFolder, Checkpoint]


def reopen(
    run_dir: str | Path, cls: type[Config], given: Mapping[str, Any]
) -> tuple[Config, Resumed]:
    """The config of a run to go on with, its folder and its newest checkpoint.

    ``given`` holds the keys that the user gave anew. Raises ConfigError if there is no run, none of
    its checkpoints is whole, or a key would contradict the steps already done.
    """
    folder = RunFolder.open(run_dir)
    checkpoint = newest_checkpoint(folder.checkpoints)
    if checkpoint is None:
        raise ConfigError(
            f"--resume {run_dir}: there is no valid checkpoint in {folder.checkpoints}; "
            f"start the run again with --config {folder.config} and another --run-dir"
        )
    config = extend(load_config(folder.config, cls), given, str(run_dir))
    return dataclasses.replace(config, run_dir=str(run_dir)), (folder, checkpoint)


def extend(config: Config, given: Mapping[str, Any], run_dir: str) -> Config:
    """The config of a run to resume, with the keys that the user gave anew.

    A factory of one's own that could not be written down by an importable name is given anew too.
    Raises ConfigError, naming the flag, if a key is not among the config's ``EXTENDABLE``.
    """
    for key, value in given.items():
        before = getattr(config, key)
        if plain(value) != plain(before) and key not in config.EXTENDABLE:
            raise ConfigError(
                f"{flag(key)} is {value}, but the run in {run_dir} has {before}; with --resume only "
                f"{', '.join(flag(name) for name in config.EXTENDABLE)} may change"
            )
    return dataclasses.replace(config, **given)


def check_extends(checkpoint: Checkpoint, plan: TrainingPlan, run_dir: str | None) -> None:
    """Raise ConfigError if more steps are done than the plan now has."""
    if checkpoint.step > plan.total_steps:
        raise ConfigError(
            f"--resume {run_dir}: {checkpoint.step} steps are done, but --epochs and "
            f"--steps now allow {plan.total_steps}; they can only extend the run"
        )


def check_restores(
    checkpoint: Checkpoint, student: int, learner: Learner, run_dir: str | None
) -> None:
    """Raise ConfigError if a checkpoint is not of this learner; else it is restored."""
    try:
        learner.restore(checkpoint.load(student))
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"--resume {run_dir}: the weights in {checkpoint.path} are of another network, or another "
            f"optimizer, than {run_dir}/config.yaml names; put there what was trained"
        ) from error


def dataset_label(config: DataConfig) -> str:
    """A short name of the data set for the names of folders."""
    dataset = config.dataset
    if not isinstance(dataset, str):
        dataset = getattr(dataset, "__name__", "own")  # a functools.partial has no name
    return dataset.rpartition(":")[2]


def network_name(network: Any) -> str:
    """How a student's network is written in records and files."""
    return network if isinstance(network, str) else written_name(network)


def prefixed(measurements: Mapping[str, Any]) -> dict[str, Any]:
    """Test measurements under the names that ``summary.json`` gives them."""
    return {f"test_{name}": value for name, value in measurements.items()}


def write_reason(folder: RunFolder, error: BaseException, details: str | None = None) -> str:
    """One sentence that says why a run failed; what is behind it goes into ``error.log``."""
    if isinstance(error, RunError) and details is None:
        return str(error)
    file = folder.path / "error.log"
    reason = str(error) if isinstance(error, RunError) else one_line(error)
    try:
        atomic_write(file, details or "".join(traceback.format_exception(error)))
    except OSError:  # a full disk, which may be what the run failed of
        return reason
    return f"{reason} (details in {file})"


def write_config(folder: RunFolder, config: RunConfig) -> None:
    """Write config.yaml, without the folder's name, so that it repeats the run elsewhere.

    Raises ConfigError if it cannot be written.
    """
    try:
        atomic_write(folder.config, to_yaml(dataclasses.replace(config, run_dir=None)))
    except OSError as error:
        raise ConfigError(f"{folder.config} cannot be written: {error.strerror}") from error


def images_per_second(folder: RunFolder, measured: float | None) -> float | None:
    """As measured, or, if too little was left to train for that, as before the run was resumed."""
    if measured is not None or not folder.summary.is_file():
        return measured
    before: float | None = folder.read_summary().get("images_per_second")
    return before


def write_failure(folder: RunFolder, summary: Mapping[str, Any], reason: str) -> None:
    """Write summary.json of a run that failed, if the disk takes it."""
    with contextlib.suppress(OSError):
        folder.write_summary({**summary, "error": reason})
