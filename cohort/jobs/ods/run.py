"""`ods_distill`: from a deep ensemble to one student that keeps its diversity, in a run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.ods.prepare import prepare
from cohort.jobs.ods.resolve import resolve
from cohort.jobs.run import JobResult, OnStep, run_job
from cohort.run.folder import RunFolder
from cohort.run.start import Resumed, reopen
from cohort.run.watcher import Watcher


def ods_distill(
    config: OdsConfig,
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> JobResult:
    """Distil a trained deep ensemble into one BatchEnsemble, or into a single network.

    Args:
        config: what to train; keys that are None follow the teachers' run, the recipe and the method.
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


def resume_ods_distill(
    run_dir: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> JobResult:
    """Continue a distillation that was interrupted or killed, or is to go further than it did.

    ``given`` holds the keys to extend; see ``OdsConfig.EXTENDABLE``. Raises as ``ods_distill``
    does, and ConfigError for a folder without a valid checkpoint.
    """
    config, resumed = reopen(run_dir, OdsConfig, given or {})
    # Once more: it may be the teachers that were given anew.
    return _run(resolve(config), resumed, on_step, verbose, watcher)


def _run(
    config: OdsConfig,
    resumed: Resumed | None,
    on_step: OnStep | None,
    verbose: bool,
    watcher: Watcher | None,
) -> JobResult:
    job = prepare(config)
    assert config.model is not None
    name = f"{config.student}-{config.perturbation or config.method}"
    return run_job(
        job,
        resumed,
        network=config.model,
        name=name,
        on_step=on_step,
        verbose=verbose,
        watcher=watcher,
    )
