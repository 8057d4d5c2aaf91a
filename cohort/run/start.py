"""A run from its config, or from its last checkpoint, to its end: the same for every command."""

import dataclasses
import shlex
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from cohort.config import RunConfig, flag
from cohort.config_file import load_config, plain, plain_values, sealed, to_yaml
from cohort.errors import ConfigError
from cohort.files import atomic_write
from cohort.invocation import as_argument
from cohort.learning.student_files import load_student, own_factory
from cohort.models.spec import Network
from cohort.run.beginning import Beginning
from cohort.run.checkpoint import Checkpoint, newest_checkpoint
from cohort.run.command import Command, Config
from cohort.run.data_card import check_unchanged, write_data_card
from cohort.run.ending import conclude
from cohort.run.folder import RunFolder, default_path
from cohort.run.interruption import Interruption
from cohort.run.journal import Journal, OnStep
from cohort.run.mirror import run_folder
from cohort.run.owner import Owner
from cohort.run.pretrained import notices, write_report
from cohort.run.ready import Run
from cohort.run.restoring import check_sealed
from cohort.run.same_classes import with_its_classes
from cohort.run.storage import below
from cohort.run.watcher import Watcher


@dataclass(frozen=True)
class Result:
    """A run that ended, and where it lies."""

    given: str
    """Its folder, or its URI on a storage, as the user names it."""
    run_dir: Path
    """Its folder on this machine."""
    summary: Mapping[str, Any]
    """What summary.json holds."""
    networks: tuple[Network, ...]
    """Of the students, as the config had them."""
    to_resume: str
    """The command line that goes on with it, if it was interrupted."""
    alone: "Result | None" = None
    """The same students trained without teacher, if a cohort's config asked for a baseline."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run, or its baseline, before the last step."""
        ended = [self] if self.alone is None else [self, self.alone]
        return any(result.summary["status"] == "interrupted" for result in ended)

    def student(self, number: int = 0) -> nn.Module:
        """A trained student in evaluation mode; see ``load_student``."""
        folder = RunFolder(self.run_dir).student(number)
        own = own_factory(self.networks[number])
        return load_student(folder, own, trust_code=True)  # it was trained here


def start_run(
    command: Command[Config],
    config: Config,
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
    places: Any = None,
) -> Result:
    """Train, evaluate, and write everything into a run folder.

    Args:
        command: which way to train.
        config: what to train; keys that are None are filled in.
        on_step: called with every record that goes into metrics.jsonl.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.
        places: a ``Reservation`` of a cohort's places on a Ray that is running; by default the
            cohort takes its part of the whole cluster.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    config = command.resolve(config)
    folder = None if config.run_dir is None else run_folder(config.run_dir)
    if folder is not None:
        folder.check_free()
    command.check_here(config)
    beginning = Beginning(verbose)
    beginning.reads(config)
    run = command.prepare(config)
    return _train(command, run, folder, None, on_step, beginning, watcher, places)


def resume_run(
    command: Command[Config],
    run_dir: str | Path,
    given: Mapping[str, Any],
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
    places: Any = None,
) -> Result:
    """Go on with a run that was interrupted or killed, or is to go further than it did.

    ``given`` holds the keys to extend, which must be among the config's ``EXTENDABLE``; the other
    arguments are those of ``start_run``. Raises as that does, and ConfigError for a folder without
    a valid checkpoint, or whose config names code that is neither among ``given`` nor trusted by it.
    """
    folder = run_folder(run_dir).opened()
    checkpoint = newest_checkpoint(folder.checkpoints)
    if checkpoint is None:
        raise ConfigError(
            f"--resume {run_dir}: there is no valid checkpoint in {below(folder.given, 'checkpoints')}; "
            f"start the run again with {shlex.join(['--config', as_argument(folder.config)])} and another "
            "--run-dir"
        )
    command.check_own(folder.config)
    config = load_config(folder.config, command.config, given)
    check_sealed(config, checkpoint, folder)
    config = extend(config, given, str(run_dir))
    config = dataclasses.replace(config, run_dir=str(run_dir))
    # Resolved once more: it may be the teachers that were given anew.
    config = command.resolve(config)
    command.check_here(config)
    beginning = Beginning(verbose)
    beginning.reads(config)
    run = command.prepare(config)
    run = with_its_classes(command, run, folder)
    check_unchanged(folder, run.dataset)
    _check_extends(checkpoint, run)
    run.check_restores(checkpoint)
    return _train(command, run, folder, checkpoint, on_step, beginning, watcher, places)


def _train(
    command: Command[Any],
    run: Run,
    folder: RunFolder | None,
    checkpoint: Checkpoint | None,
    on_step: OnStep | None,
    beginning: Beginning,
    watcher: Watcher | None,
    places: Any,
) -> Result:
    config = run.config
    named = folder is not None
    folder = folder or _unnamed(run)
    folder.check_writable("--resume" if checkpoint else "--run-dir")
    run.check_fits_here()
    start = {} if checkpoint else run.start()
    beginning.goes_into(folder)
    beginning.starts_ray(run.ray_to_start())
    with run.session(), Interruption().listening() as interruption:
        beginning.starts(run)
        with run.placed(places) as ready:
            if not named and folder.is_taken:  # by a run that began in the same second
                folder = _unnamed(run)
                beginning.goes_into(folder)
            if checkpoint is None:
                folder.make()
            with (
                folder.held(),
                Journal(
                    folder,
                    run.plan,
                    run.names,
                    trackers=config.trackers,
                    config=plain_values(dataclasses.replace(ready.config, run_dir=None)),
                    on_step=on_step,
                    verbose=beginning.verbose,
                    interruption=interruption,
                    before=beginning.said,
                ) as journal,
            ):
                write_config(folder, ready.config)
                write_data_card(folder, run.dataset)
                write_report(folder, start)
                folder.begun()
                for notice in (*run.dataset.notes, ready.notice, *notices(start)):
                    if notice:
                        journal.notice(notice)
                owner = Owner(
                    folder,
                    journal,
                    run.plan,
                    keep=config.keep,
                    checkpoint=checkpoint,
                    asked=interruption.requested,
                    watcher=watcher,
                    start=start,
                    settings=sealed(ready.config),
                )
                with closing(owner):
                    summary = conclude(owner, ready.training(owner))
                journal.concluded(summary)
        to_resume = command.to_resume(config, folder.given)
        result = Result(folder.given, folder.path, summary, run.networks, to_resume)
        return _with_baseline(command, run, result, on_step, beginning.verbose)


def _unnamed(run: Run) -> RunFolder:
    """Where a run lies that is not told where."""
    return RunFolder(default_path(run.name))


def _with_baseline(
    command: Command[Any], run: Run, result: Result, on_step: OnStep | None, verbose: bool
) -> Result:
    """The result, with what its run is to be compared with in the folder ``alone``."""
    baseline = run.baseline()
    if baseline is None or result.summary["status"] != "finished":
        return result
    (config, keys), run_dir = baseline, below(result.given, "alone")
    if run_folder(run_dir).is_taken:
        given = {key: getattr(config, key) for key in keys}
        alone = resume_run(command, run_dir, given, on_step=on_step, verbose=verbose)
    else:
        config = dataclasses.replace(config, run_dir=run_dir)
        alone = start_run(command, config, on_step=on_step, verbose=verbose)
    return dataclasses.replace(result, alone=alone)


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


def _check_extends(checkpoint: Checkpoint, run: Run) -> None:
    if checkpoint.step > run.plan.total_steps:
        raise ConfigError(
            f"--resume {run.config.run_dir}: {checkpoint.step} steps are done, but --epochs and "
            f"--steps now allow {run.plan.total_steps}; they can only extend the run"
        )


def write_config(folder: RunFolder, config: RunConfig) -> None:
    """Write config.yaml, without the folder's name, so that it repeats the run elsewhere.

    Raises ConfigError if it cannot be written.
    """
    try:
        atomic_write(folder.config, to_yaml(dataclasses.replace(config, run_dir=None)))
    except OSError as error:
        raise ConfigError(f"{folder.config} cannot be written: {error.strerror}") from error
