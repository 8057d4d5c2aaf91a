"""Whether a run that goes on is the one that began: its settings, and the state that its checkpoint holds."""

from collections.abc import Callable

from cohort.config import RunConfig
from cohort.config_file import sealed
from cohort.errors import ConfigError, brief
from cohort.imports import one_line
from cohort.learning.learner import Files, Learner
from cohort.run.checkpoint import Checkpoint
from cohort.run.folder import RunFolder
from cohort.run.storage import below


def check_sealed(config: RunConfig, checkpoint: Checkpoint, folder: RunFolder) -> None:
    """Raise ConfigError if the config of a run says otherwise now what its weights depend on."""
    now = sealed(config)
    for key, before in checkpoint.settings.items():
        if key in now and now[key] != before:
            raise ConfigError(
                f"{below(folder.given, 'config.yaml')} has {key}: {brief(now[key])}, but the run in "
                f"{folder.given} was trained with {brief(before)}; put that back, or start a new run by "
                "--config and another --run-dir"
            )


def check_restores(
    checkpoint: Checkpoint,
    student: int,
    learner: Learner,
    run_dir: str | None,
    beside: Callable[[Files], None] | None = None,
) -> None:
    """Raise ConfigError if a checkpoint is not of this learner, or damaged; else it is restored.

    ``beside`` tries out what else is among the student's files.
    """
    try:
        files = checkpoint.load(student)
        learner.restore(files)
        _check_finite(learner)
        if beside is not None:
            beside(files)
    except Exception as error:  # whatever reading damaged files may raise
        config = below(str(run_dir), "config.yaml")
        lies = below(str(run_dir), f"checkpoints/{checkpoint.path.name}")
        raise ConfigError(
            f"--resume {run_dir}: the files of student {student} in {lies} are of another "
            f"network, or another optimizer, than {config} names, or damaged "
            f"({one_line(error)}); put there what was trained, or remove {lies} to go on from the checkpoint "
            "before it"
        ) from error


def _check_finite(learner: Learner) -> None:
    for name, tensor in learner.network.state_dict().items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite everywhere")
