"""A run of Weights & Biases: offline, to be sent by ``wandb sync``, unless WANDB_MODE says otherwise."""

import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Self

from cohort.reporting.records import Record
from cohort.reporting.tracking.tracker import About, flat, remember, remembered, scalars

PROJECT = "cohort"
STEP = "step"
"""Our steps are a measurement of theirs: their own only go forward, and a run may be rolled back."""


class WandB:
    """A ``Tracker`` that logs to one run of Weights & Biases.

    Args:
        run: what ``wandb.init`` returned.
    """

    def __init__(self, run: Any) -> None:
        self._run = run

    @classmethod
    def open(cls, about: About) -> Self:
        """The run that this one began before, or a new one."""
        import wandb

        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=about.name,
            id=remembered(about.folder, "wandb").get("run"),
            resume="allow",
            dir=str(about.folder),
            mode=os.environ.get("WANDB_MODE") or "offline",
            config=dict(about.config),
            # Neither what is printed nor the code of whoever trains leaves this machine.
            settings=wandb.Settings(
                console="off", disable_code=True, disable_git=True, silent=True
            ),
        )
        remember(about.folder, "wandb", {"run": run.id})
        run.define_metric(STEP, hidden=True)
        run.define_metric("*", step_metric=STEP)
        return cls(run)

    def write(self, records: Sequence[Record]) -> None:
        """Log each number of the records, those of a step together."""
        for step, of_step in groupby(records, key=lambda record: record["step"]):
            measured = {name: value for record in of_step for name, value in scalars(record)}
            self._run.log({STEP: step, **measured})

    def rewind(self, step: int) -> None:
        """Do nothing: what is logged again stands beside what was logged before."""

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Add the summary to the run's own."""
        self._run.summary.update({f"summary.{name}": value for name, value in flat(summary)})

    def close(self, status: str) -> None:
        """Say how the run ended, and wait until everything is put away."""
        self._run.finish(exit_code=int(status == "failed"))
