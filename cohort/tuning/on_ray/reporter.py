"""What a trial tells Ray Tune while it trains, and how Tune stops it. Needs ray."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from cohort.run.checkpoint import newest_checkpoint
from cohort.run.folder import RunFolder
from cohort.tuning.measurements import history

if TYPE_CHECKING:
    from ray.train import Checkpoint


class Reporter:
    """Watches over a trial's run: reports its evaluations, and stops it when Tune says so.

    An evaluation is reported once a checkpoint holds all that it saw, so that a trial that is
    stopped at a report can go on from exactly there.

    Args:
        run_dir: the trial's run folder.
        stop_file: the run stops, with a checkpoint, as soon as this exists.
        hand_over: epochs after which Tune gets a checkpoint too, for a scheduler that moves weights
            between trials; 0 for never. Tune copies it, and keeps only the newest ones: of more
            those that the scheduler remembers would be gone when it needs them.
    """

    def __init__(self, run_dir: Path, stop_file: Path, *, hand_over: int) -> None:
        self._folder = RunFolder(run_dir)
        self._stop_file = stop_file
        self._hand_over = hand_over
        self._due: float = hand_over or math.inf
        self._reported = 0
        self._stopped = False

    def saved(self, step: int, total_steps: int) -> None:
        """Report the newest evaluation, unless it was reported or is the run's last one.

        That one is reported by the trial together with what its summary says.
        """
        if step == total_steps:
            return
        rows = [row for row in history(self._folder.path) if self._reported < row["step"] <= step]
        if rows:
            total_epochs = rows[-1]["epoch"] * total_steps / rows[-1]["step"]
            self._report_row({**rows[-1], "total_epochs": round(total_epochs, 4)})

    def stopping(self) -> bool:
        """Whether Tune stopped this trial, or somebody the study."""
        return self._stopped or self._stop_file.exists()

    def repeat(self, step: int) -> None:
        """Report what an earlier process measured up to ``step``, for a scheduler that compares.

        Only the newest of it if weights move between trials: those before are of no checkpoint.
        """
        rows = [row for row in history(self._folder.path) if row["step"] <= step]
        for row in rows[-1:] if self._hand_over else rows:
            if not self.stopping():
                self._report_row(row)

    def report(self, measured: dict[str, Any]) -> None:
        """Hand measurements to Tune, and wait until it has decided whether the trial goes on."""
        if self._stopped:
            return
        try:
            tune.report(measured, checkpoint=self._handed(measured.get("epoch", 0)))
        except SystemExit:  # this is how Tune ends a trial; the run writes down how far it came
            self._stopped = True

    def leave(self) -> None:
        """End a trial that Tune stopped in the way that Tune waits for; return if it did not.

        Whoever returns instead is asked for a last report, and blocks the process, which is to be
        used for the next trial, until Tune gives it up.
        """
        if self._stopped:
            sys.exit(0)

    def _report_row(self, row: dict[str, Any]) -> None:
        self._reported = row["step"]
        self.report(row)

    def _handed(self, epoch: float) -> "Checkpoint | None":
        """The newest checkpoint when the scheduler may take a look, by the scheduler's own rule."""
        if epoch < self._due:
            return None
        self._due = epoch + self._hand_over
        checkpoint = newest_checkpoint(self._folder.checkpoints)
        return tune.Checkpoint.from_directory(str(checkpoint.path)) if checkpoint else None
