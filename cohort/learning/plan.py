"""A resolved config and a data set's size, turned into the numbers that training runs by."""

import math
from dataclasses import dataclass, field, fields

from cohort.config import LrSchedule, Optimizer, RunConfig, TrainingConfig
from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.machine import gib, memory


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(TrainingConfig):
    """A resolved TrainingConfig, and what follows from it; every student of a run has the same one."""

    batch_size: int = field()  # which makes it a key without a default, and never None
    lr: float = field()
    weight_decay: float = field()
    optimizer: Optimizer = field()
    lr_schedule: LrSchedule = field()

    steps_per_epoch: int
    schedule_steps: int
    """Steps that the learning-rate schedule spans: all epochs."""
    total_steps: int
    """Steps to train: fewer than ``schedule_steps`` where the run stops early."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises to ``lr``."""
    log_every: int
    eval_every: int
    checkpoint_every: int

    def epoch(self, step: int) -> float:
        """Passes over the training split after ``step`` steps."""
        return step / self.steps_per_epoch

    def next_stop(self, step: int) -> int:
        """The next step after ``step`` at which training pauses to evaluate, save or end."""
        periods = (self.eval_every, self.checkpoint_every)
        return min(self.total_steps, *((step // every + 1) * every for every in periods))


def check_batch(plan: TrainingPlan, dataset: ImageDataset) -> None:
    """Raise ConfigError for a batch whose pictures alone, in float32, are more than memory holds."""
    size, there = 4 * plan.batch_size * math.prod(dataset.image_shape), memory()
    if size > there:
        raise ConfigError(
            f"--batch-size is {plan.batch_size}, of which the pictures alone would take {gib(size)}, and "
            f"this machine has {gib(there)} of memory; take a smaller one, or a smaller --image-size"
        )


def plan_training(config: RunConfig, train_size: int) -> TrainingPlan:
    """The plan of a resolved config.

    Raises ConfigError if a batch is larger than the split, or if --steps or --warmup-epochs are
    longer than the epochs.
    """
    assert config.batch_size is not None, "the config is not resolved"
    assert config.epochs is not None
    assert config.warmup_epochs is not None
    if config.batch_size > train_size:
        raise ConfigError(
            f"--batch-size is {config.batch_size}; it must be at most the {train_size} "
            "images of the training split"
        )
    steps_per_epoch = train_size // config.batch_size
    schedule_steps = config.epochs * steps_per_epoch
    if config.steps is not None and config.steps > schedule_steps:
        raise ConfigError(
            f"--steps is {config.steps}, but {config.epochs} epochs have {schedule_steps} steps, and "
            "--steps can only stop earlier; raise --epochs"
        )
    if config.warmup_epochs >= config.epochs:
        raise ConfigError(
            f"--warmup-epochs is {config.warmup_epochs:g}; it must be less than --epochs, which is "
            f"{config.epochs}"
        )
    return TrainingPlan(
        **{key.name: getattr(config, key.name) for key in fields(TrainingConfig)},
        steps_per_epoch=steps_per_epoch,
        schedule_steps=schedule_steps,
        total_steps=config.steps or schedule_steps,
        warmup_steps=round(config.warmup_epochs * steps_per_epoch),
        log_every=config.log_every,
        eval_every=config.eval_every or steps_per_epoch,
        checkpoint_every=config.checkpoint_every or steps_per_epoch,
    )
