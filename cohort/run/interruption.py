"""Ctrl-C, SIGTERM and SIGHUP as a question that a loop can ask, instead of an exception anywhere."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORDS = "stopping after this step; a second signal stops at once"


def heeded() -> list[signal.Signals]:
    """The signals that end a run; without SIGHUP if it is to be ignored, as ``nohup`` has it.

    A shell has commands in the background ignore SIGINT; who sends them one means it all the same.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]


class Interruption:
    """``requested()`` turns true at the first signal; the second one ends the process at once."""

    def __init__(self) -> None:
        self._requested = False
        self.is_shown = False
        """Whether somebody shows that it was asked for, so that nothing is written here."""

    def words(self) -> str:
        """What to show: that somebody asked, or nothing."""
        return WORDS if self._requested else ""

    def requested(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._requested

    @contextlib.contextmanager
    def listening(self) -> Iterator["Interruption"]:
        """Catch the signals inside the block; only the main thread can, others just run it."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._on_signal) for number in heeded()}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
        if self.is_shown and number != signal.SIGHUP:
            return
        try:
            os.write(2, f"{WORDS}\n".encode())  # print may be at work
        except OSError:
            _write_nowhere()


def _write_nowhere() -> None:
    """The terminal is gone, of which SIGHUP told: what is written from now on must not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
