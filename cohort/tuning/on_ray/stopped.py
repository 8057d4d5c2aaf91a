"""Trials whose process was stopped (SIGSTOP), which Tune would wait for for ever."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from ray import tune
from ray.tune.experiment import Trial

from cohort.runtime.watch import HANG_AFTER
from cohort.tuning.locks import processes_at_work
from cohort.tuning.on_ray.searcher import Unsaved


class EndStopped(Unsaved, tune.Callback):
    """Looks at the trials' processes now and then, and ends those that were stopped.

    Tune starts them again, as after any death. One that waits for its students is idle, and not stuck.

    Args:
        study_dir: where the trials say which processes they are; they stand on this node.
        tell: sentences for the user.
    """

    def __init__(self, study_dir: Path, tell: Callable[[str], None]) -> None:
        self._study_dir = study_dir
        self._tell = tell
        self._looked = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's loop turns a few times a second."""
        if time.monotonic() - self._looked < HANG_AFTER:
            return
        self._looked = time.monotonic()
        for process in self._stopped():
            with contextlib.suppress(psutil.Error):  # it has just ended
                process.kill()
                self._tell("the process of a trial was stopped: ended")

    def _stopped(self) -> Iterator[psutil.Process]:
        for pid in processes_at_work(self._study_dir):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                ours = process.cmdline()[:1] and process.cmdline()[0].startswith("ray::")
                if (
                    ours and process.status() == psutil.STATUS_STOPPED
                ):  # the number may be another's
                    yield process
