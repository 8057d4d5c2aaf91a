"""What stands at the foot of a terminal and is drawn again and again, below whatever is printed."""

import contextlib
import os
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live
from rich.text import Text

REFRESH_SECONDS = 0.25
KEPT = 200
"""Printed lines that are known, to be printed again when the terminal has another size."""


class Fitting:
    """One line that says the same in fewer and fewer words, of which those are shown that fit."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        fitting = (text for text in self.texts if len(text) <= console.width)
        yield Text(next(fitting, self.texts[-1]), no_wrap=True, overflow="ellipsis")


class LiveFoot:
    """Draws a foot on a terminal, a few times a second, by a thread of its own.

    rich goes back as many lines as it drew, which are others once the terminal has another width: then
    parts of an older foot would be left behind. So after a change of size everything is drawn anew.

    Args:
        console: the terminal.
        draw: makes the foot, as it is at that moment.
        before: lines that were printed already.
    """

    def __init__(
        self, console: Console, draw: Callable[[], RenderableType], before: Sequence[str] = ()
    ) -> None:
        self._console = console
        self._draw = draw
        self._printed: deque[RenderableType] = deque(before, maxlen=KEPT)
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._terminal = contextlib.ExitStack()
        self._ticking = threading.Thread(target=self._tick, name="cohort-display", daemon=True)

    def start(self) -> None:
        """Draw it for the first time."""
        self._terminal.enter_context(_keys_unseen())
        self._begin()
        self._ticking.start()

    def print(self, line: RenderableType) -> None:
        """Print above it."""
        with self._lock:
            self._printed.append(line)
            if not self._check_size():
                self._put(line)
                self._live.refresh()

    def refresh(self) -> None:
        """Draw it again."""
        with self._lock:
            if not self._ended.is_set() and not self._check_size():
                self._live.refresh()

    def stop(self) -> None:
        """Leave it as it is now, and the terminal as it was."""
        with self._lock, self._terminal:
            self._ended.set()
            self._check_size()
            self._live.stop()

    def _tick(self) -> None:
        while not self._ended.wait(REFRESH_SECONDS):
            self.refresh()

    def _begin(self) -> None:
        self._size = self._console.size
        self._live = Live(console=self._console, get_renderable=self._draw, auto_refresh=False)
        self._live.start(refresh=True)

    def _check_size(self) -> bool:
        """Whether the terminal had another size, and everything was drawn anew."""
        if self._console.size == self._size:
            return False
        self._console.control(Control.home(), Control.clear())
        self._live.transient = True
        self._live.stop()  # which draws it once more, at the top, where nothing else is
        self._console.control(Control.home(), Control.clear())
        for line in self._newest():
            self._put(line)
        self._begin()
        return True

    def _newest(self) -> list[RenderableType]:
        """The printed lines for which there is room above."""
        room = self._console.height - len(self._console.render_lines(self._draw())) - 1
        newest: list[RenderableType] = []
        for line in reversed(self._printed):
            room -= len(self._console.render_lines(_rendered(line)))
            if room < 0:
                break
            newest.insert(0, line)
        return newest

    def _put(self, line: RenderableType) -> None:
        self._console.print(_rendered(line), highlight=False)


def _rendered(line: RenderableType) -> RenderableType:
    return Text(line) if isinstance(line, str) else line  # no markup


@contextlib.contextmanager
def _keys_unseen() -> Iterator[None]:
    """Inside, Ctrl-C neither writes ``^C`` into what is drawn, nor throws away what is still on its way."""
    try:
        keyboard = sys.stdin.fileno()
        ours = os.isatty(keyboard) and os.tcgetpgrp(keyboard) == os.getpgrp()
        before = termios.tcgetattr(keyboard) if ours else None
    except (OSError, ValueError, AttributeError, termios.error):
        before = None
    if before is None:  # no keyboard, or not ours: a process in the background would be stopped
        yield
        return
    quiet = list(before)
    quiet[3] = quiet[3] & ~termios.ECHOCTL | termios.NOFLSH
    termios.tcsetattr(keyboard, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, termios.error):  # the terminal may be gone
            if os.tcgetpgrp(keyboard) == os.getpgrp():
                termios.tcsetattr(keyboard, termios.TCSANOW, before)
