"""The learning rate of a run: as it recorded it, or as its config and the size of its data say."""

import dataclasses

import numpy as np
from pydantic import ValidationError

from cohort.config import RunConfig, TrainingConfig
from cohort.config_file import from_values
from cohort.errors import ConfigError
from cohort.learning.plan import plan_training
from cohort.learning.schedule import learning_rate
from cohort.report.curves import POINTS, Lines, lines_of, measurement
from cohort.report.reading import RunFiles

PLANNED = tuple(field.name for field in dataclasses.fields(TrainingConfig))

NEEDED = ("epochs", "batch_size", "lr", "weight_decay", "optimizer", "lr_schedule", "warmup_epochs")


def rates_of(run: RunFiles) -> Lines | None:
    """A line up to the last step that was recorded; None if it cannot be told."""
    recorded = lines_of(run.records, measurement("lr"), lambda _: "")
    return recorded or _planned(run)


def _planned(run: RunFiles) -> Lines | None:
    last = max((record["step"] for record in run.records), default=0)
    resolved = all(run.config.get(key) is not None for key in NEEDED)
    if run.data is None or not last or not resolved:
        return None
    values = {key: run.config[key] for key in PLANNED if key in run.config}
    try:
        plan = plan_training(from_values(RunConfig, values), run.data.counts["train"])
    except (ConfigError, ValidationError, KeyError):  # of a damaged or odd config
        return None
    steps = np.unique(np.linspace(0, last, min(POINTS, last + 1)).round())
    rates_T = np.array([learning_rate(plan, int(step)) for step in steps])
    epochs_T = steps / plan.steps_per_epoch
    return Lines(epochs_T, rates_T[None], np.ones((1, len(steps)), dtype=bool), ("",), 1)
