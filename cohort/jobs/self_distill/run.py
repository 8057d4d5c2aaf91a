"""`self_distill`: from a config to a network with trained, evaluated exits in a run folder."""

from cohort.data.dataset import ImageDataset
from cohort.jobs.run import JobRun
from cohort.jobs.self_distill.command import SELF_DISTILL
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.jobs.self_distill.job import prepare
from cohort.run.journal import OnStep
from cohort.run.start import Result, start_run
from cohort.run.watcher import Watcher


def self_distill(
    config: SelfDistillConfig,
    *,
    on_step: OnStep | None = None,
    verbose: bool = False,
    watcher: Watcher | None = None,
) -> Result:
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
    return start_run(SELF_DISTILL, config, on_step=on_step, verbose=verbose, watcher=watcher)


def prepare_run(config: SelfDistillConfig, dataset: ImageDataset | None = None) -> JobRun:
    """The run of a resolved config; see ``Command.prepare``."""
    assert config.model is not None, "the config is not resolved"
    return JobRun.of(prepare(config, dataset=dataset), config.method, config.model)
