"""Ctrl-C and SIGTERM as a question that a loop can ask, instead of an exception anywhere."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """``requested()`` turns true at the first signal; the second one ends the process at once."""

    def __init__(self) -> None:
        self._requested = False

    def requested(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self._requested

    @contextlib.contextmanager
    def listening(self) -> Iterator["Interruption"]:
        """Catch the signals inside the block; only the main thread can, others just run it."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        os.write(
            2, b"stopping after this step; a second signal stops at once\n"
        )  # print may be at work
        self._requested = True
