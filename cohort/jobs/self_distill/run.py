"""`self_distill`: from a config to a network with trained, evaluated exits in a run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cohort.jobs.run import JobResult, OnStep, run_job
from cohort.jobs.self_distill.config import SelfDistillConfig, resolve
from cohort.jobs.self_distill.job import prepare
from cohort.run.folder import RunFolder
from cohort.run.start import Resumed, reopen
from cohort.run.watcher import Watcher


def self_distill(
    config: SelfDistillConfig,
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> JobResult:
    """Train a network with exits by self-distillation, or by a method it is compared with.

    Args:
        config: what to train; keys that are None follow the data set's recipe and the method.
        on_step: called with every record that goes into metrics.jsonl.
        verbose: show progress on the terminal.
        watcher: told of checkpoints, and may stop the run.

    Raises:
        ConfigError: the config asks for something impossible; nothing was written.
        RunError: the run failed after it had begun; its last checkpoint is kept.
    """
    config = resolve(config)
    if config.run_dir is not None:
        RunFolder(config.run_dir).check_free()
    return _run(config, None, on_step, verbose, watcher)


def resume_self_distill(
    run_dir: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> JobResult:
    """Continue a job that was interrupted or killed, or is to go further than it did.

    ``given`` holds the keys to extend; see ``SelfDistillConfig.EXTENDABLE``. Raises as
    ``self_distill`` does, and ConfigError for a folder without a valid checkpoint.
    """
    config, resumed = reopen(run_dir, SelfDistillConfig, given or {})
    return _run(config, resumed, on_step, verbose, watcher)


def _run(
    config: SelfDistillConfig,
    resumed: Resumed | None,
    on_step: OnStep | None,
    verbose: bool,
    watcher: Watcher | None,
) -> JobResult:
    job = prepare(config)
    assert config.model is not None
    return run_job(
        job,
        resumed,
        network=config.model,
        name=config.method,
        on_step=on_step,
        verbose=verbose,
        watcher=watcher,
    )
