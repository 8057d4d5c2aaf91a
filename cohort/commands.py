"""The commands that train, and their functions in Python. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohort.config_file import ONLY, read_config
from cohort.errors import ConfigError
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.run.command import Command, Config
from cohort.run.storage import to_read
from cohort.runtime.config import CohortConfig

if TYPE_CHECKING:
    from cohort.run.journal import OnStep
    from cohort.run.start import Result
    from cohort.run.watcher import Watcher

TRAIN = Command("train", "launch_cohort", CohortConfig, "cohort.runtime.train")
SELF_DISTILL = Command(
    "self-distill", "self_distill", SelfDistillConfig, "cohort.jobs.self_distill.run"
)
ODS_DISTILL = Command("ods-distill", "ods_distill", OdsConfig, "cohort.jobs.ods.run")
COMMANDS: tuple[Command[Any], ...] = (TRAIN, SELF_DISTILL, ODS_DISTILL)


def train_cohort(
    config: CohortConfig,
    *,
    on_step: "OnStep | None" = None,
    verbose: bool = False,
    watcher: "Watcher | None" = None,
) -> "Result":
    """Train a cohort, evaluate it, and write everything into a run folder.

    Args:
        config: what to train; keys that are None follow the data set's recipe.
        on_step: called with every record that goes into metrics.jsonl: one per student and
            ``log_every`` steps, and one per student and evaluation.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    return _start(TRAIN, config, on_step, verbose, watcher)


def self_distill(
    config: SelfDistillConfig,
    *,
    on_step: "OnStep | None" = None,
    verbose: bool = False,
    watcher: "Watcher | None" = None,
) -> "Result":
    """Train a network with exits by self-distillation, or by a method it is compared with.

    ``config`` says what to train; keys that are None follow the data set's recipe and the method.
    The other arguments, and what is raised, are those of ``train_cohort``.
    """
    return _start(SELF_DISTILL, config, on_step, verbose, watcher)


def ods_distill(
    config: OdsConfig,
    *,
    on_step: "OnStep | None" = None,
    verbose: bool = False,
    watcher: "Watcher | None" = None,
) -> "Result":
    """Distil a trained deep ensemble into one BatchEnsemble, or into a single network.

    ``config`` says what to train; keys that are None follow the teachers' run, the recipe and the
    method. The other arguments, and what is raised, are those of ``train_cohort``.
    """
    return _start(ODS_DISTILL, config, on_step, verbose, watcher)


def resume(
    run_dir: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    on_step: "OnStep | None" = None,
    verbose: bool = False,
    watcher: "Watcher | None" = None,
) -> "Result":
    """Go on with a run of any command that was interrupted or killed, or is to go further.

    Args:
        run_dir: the run's folder, or its URI on a storage.
        given: keys to extend, such as ``{"epochs": 40}``; see the config's ``EXTENDABLE``.
        on_step: called with every record that goes into metrics.jsonl.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.

    Raises:
        ConfigError: there is no run, no valid checkpoint, or a key contradicts the steps done.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    from cohort.run.start import resume_run  # torch, which the reading of a study does without

    command = command_of(run_dir)
    return resume_run(
        command, run_dir, given or {}, on_step=on_step, verbose=verbose, watcher=watcher
    )


def by_key(key: str) -> Command[Any]:
    """The command that study files call so."""
    return next(command for command in COMMANDS if command.key == key)


def command_of(run_dir: str | Path) -> Command[Any]:
    """The command that a run's config.yaml is of. Raises ConfigError if there is none."""
    file = to_read(run_dir).opened().config
    keys = read_config(file)
    for key, name in ONLY.items():
        if key in keys:
            return next(command for command in COMMANDS if command.name == name)
    raise ConfigError(f"{file} is of no command that trains: it has none of {', '.join(ONLY)}")


def _start(
    command: Command[Config],
    config: Config,
    on_step: "OnStep | None",
    verbose: bool,
    watcher: "Watcher | None",
) -> "Result":
    from cohort.run.start import start_run

    return start_run(command, config, on_step=on_step, verbose=verbose, watcher=watcher)
