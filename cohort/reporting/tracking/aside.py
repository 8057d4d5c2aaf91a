"""A tracker in a thread of its own, so that a slow or broken one neither slows nor ends a run."""

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from cohort.imports import one_line
from cohort.reporting.records import Record
from cohort.reporting.tracking.tracker import Tracker

MOST = 100_000
"""Records that wait for a slow tracker; further ones are left out, and that is said."""
AT_ONCE = 2000
CLOSE_SECONDS = 30.0
"""Within which a tracker takes what is left when the run has ended."""
SOON_SECONDS = 2.0
"""After which it is said that a tracker is waited for."""

Work = Callable[[Tracker], None]


class Aside:
    """A sink that hands everything on to a tracker, in order, and complains once if that fails.

    Args:
        name: of the tracker, for complaints.
        open: makes it; called in the thread.
        complain: called with one sentence, from the thread or from ``close``.
    """

    def __init__(
        self, name: str, open: Callable[[], Tracker], complain: Callable[[str], None]
    ) -> None:
        self._name = name
        self._open = open
        self._tell = complain
        self._complained = False
        self._waiting: queue.Queue[Record | Work | None] = queue.Queue(MOST)
        self._over = threading.Event()
        self._status = "failed"
        self._thread = threading.Thread(target=self._run, name=f"cohort-{name}", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        """Take one record."""
        self._put(record)

    def rewind(self, step: int) -> None:
        """What was written after this step will be written again."""
        self._put(lambda tracker: tracker.rewind(step))

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Take what summary.json holds."""
        self._status = str(summary["status"])
        self._put(lambda tracker: tracker.conclude(summary))

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let the tracker take what is left, for so long; nothing is written afterwards."""
        self._put(None)
        self._thread.join(min(seconds, SOON_SECONDS))
        if self._thread.is_alive() and seconds > SOON_SECONDS:
            self._tell(f"waiting up to {seconds:.0f} s for {self._name}")
            self._thread.join(seconds - SOON_SECONDS)
        if self._thread.is_alive():
            self._complain(f"did not take everything within {seconds:.0f} s of the run's end")

    def _put(self, what: Record | Work | None) -> None:
        if self._over.is_set():
            return
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self._complain(
                f"is too slow: more than {MOST} records wait for it, others are left out"
            )
            if what is None:  # it has to know that it is over
                with contextlib.suppress(queue.Empty):
                    self._waiting.get_nowait()
                self._put(what)

    def _run(self) -> None:
        try:
            tracker = self._open()
            while self._hand_over(tracker):
                pass
            tracker.close(self._status)
        except Exception as error:
            self._complain(f"gets nothing more: {one_line(error)}")
        finally:
            self._over.set()

    def _hand_over(self, tracker: Tracker) -> bool:
        """Hand on what waits, in order; whether there is more to come."""
        records: list[Record] = []
        what: Record | Work | None = self._waiting.get()
        while isinstance(what, dict):
            records.append(what)
            if self._waiting.empty() or len(records) == AT_ONCE:
                break
            what = self._waiting.get()
        if records:
            tracker.write(records)
        if callable(what):
            what(tracker)
        return what is not None

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            self._tell(
                f"--log-to {self._name} {what}; nothing else is affected, and metrics.jsonl has it all"
            )
