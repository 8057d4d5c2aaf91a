"""What a trial tells Ray Tune while it trains, and how Tune stops it."""

import sys
from pathlib import Path
from typing import Any

from ray import tune

from cohort.reporting.records import Record
from cohort.tuning.measurements import PHASES, evaluation_row, history


class Reporter:
    """Watches over a trial's run: reports its evaluations, and stops it when Tune says so.

    An evaluation is reported once a checkpoint holds all that it saw, so that a trial that is
    stopped at a report can go on from exactly there.

    Args:
        run_dir: the trial's run folder.
        stop_file: the run stops, with a checkpoint, as soon as this exists.
    """

    def __init__(self, run_dir: Path, stop_file: Path) -> None:
        self._run_dir = run_dir
        self._stop_file = stop_file
        self._newest: dict[tuple[str, int | str], Record] = {}
        """The records of the newest evaluation, by split and student."""
        self._measured_at = 0
        self._reported = 0
        self._stopped = False

    def recorded(self, record: Record) -> None:
        """Take note of a line of metrics.jsonl, if it is of an evaluation.

        Once a student died, steps come again, and with fewer students if it was dropped.
        """
        if record["phase"] not in PHASES:
            return
        of = record["phase"], record["student"]
        if record["step"] != self._measured_at or of in self._newest:
            self._newest, self._measured_at = {}, record["step"]
        self._newest[of] = record

    def saved(self, step: int, total_steps: int) -> None:
        """Report the newest evaluation, unless it was reported or is the run's last one.

        That one is reported by the trial together with what its summary says.
        """
        if step == total_steps or not self._reported < self._measured_at <= step:
            return
        row = evaluation_row(list(self._newest.values()))
        total_epochs = row["epoch"] * total_steps / row["step"]
        self._report_row({**row, "total_epochs": round(total_epochs, 4)})

    def stopping(self) -> bool:
        """Whether Tune stopped this trial, or somebody the study."""
        return self._stopped or self._stop_file.exists()

    def repeat(self, step: int) -> None:
        """Report what an earlier process measured up to ``step``, for a scheduler that compares."""
        for row in history(self._run_dir):
            if row["step"] <= step and not self.stopping():
                self._report_row(row)

    def report(self, measured: dict[str, Any]) -> None:
        """Hand measurements to Tune, and wait until it has decided whether the trial goes on."""
        if self._stopped:
            return
        try:
            tune.report(measured)
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
