"""The commands that train, and how to go on with a run of any of them. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohort.config_file import COMMANDS as ONLY
from cohort.config_file import read_config
from cohort.errors import ConfigError
from cohort.jobs.ods.command import ODS_DISTILL
from cohort.jobs.self_distill.command import SELF_DISTILL
from cohort.run.command import Command
from cohort.runtime.command import TRAIN

if TYPE_CHECKING:
    from cohort.run.journal import OnStep
    from cohort.run.start import Result
    from cohort.run.watcher import Watcher

COMMANDS: tuple[Command[Any], ...] = (TRAIN, SELF_DISTILL, ODS_DISTILL)


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
        run_dir: the run's folder.
        given: keys to extend, such as ``{"epochs": 40}``; see the config's ``EXTENDABLE``.
        on_step: called with every record that goes into metrics.jsonl.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.

    Raises:
        ConfigError: there is no run, no valid checkpoint, or a key contradicts the steps done.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    from cohort.run.start import resume_run  # torch, which the reading of a study does without

    command = command_of(Path(run_dir))
    return resume_run(
        command, run_dir, given or {}, on_step=on_step, verbose=verbose, watcher=watcher
    )


def by_key(key: str) -> Command[Any]:
    """The command that study files call so."""
    return next(command for command in COMMANDS if command.key == key)


def command_of(run_dir: Path) -> Command[Any]:
    """The command that a run's config.yaml is of. Raises ConfigError if there is none."""
    file = run_dir / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{run_dir} is not the folder of a run: it has no config.yaml")
    keys = read_config(file)
    for key, name in ONLY.items():
        if key in keys:
            return next(command for command in COMMANDS if command.name == name)
    raise ConfigError(f"{file} is of no command that trains: it has none of {', '.join(ONLY)}")
