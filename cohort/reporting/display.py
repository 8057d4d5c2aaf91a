"""What goes on, shown: a live table on a terminal, a plain line now and then anywhere else."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group
from rich.live import Live


class Display(ABC):
    """Shows something that changes all the time.

    Args:
        console: where to write; standard output by default.
        interval: least seconds between two plain lines.
        now: seconds that only go forward.
    """

    def __init__(self, console: Console | None, interval: float, now: Callable[[], float]) -> None:
        self._console = console or Console()
        self._interval = interval
        self._now = now
        self._live: Live | None = None
        self._shown_at: float | None = None
        self._pending = False

    def start(self) -> None:
        """Open the live table, if there is a terminal to draw it on."""
        if self._console.is_terminal:
            # Drawn by a function, so that the elapsed time moves on between two updates.
            self._live = Live(console=self._console, get_renderable=self._table)
            self._live.start()

    def notice(self, text: str) -> None:
        """One plain line, above the table if there is one."""
        # soft_wrap would also let the table run over the edge of the terminal.
        self._console.print(text, markup=False, highlight=False, soft_wrap=self._live is None)

    def finish(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._pending:
            self._show_line()
        self._pending = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    @abstractmethod
    def _table(self) -> Group:
        """The state for a terminal."""

    @abstractmethod
    def _line(self) -> str:
        """The state for anywhere else."""

    def _changed(self) -> None:
        """There is something new to show."""
        self._pending = True
        due = self._shown_at is None or self._now() - self._shown_at >= self._interval
        if self._live is None and due:
            self._show_line()

    def _show_line(self) -> None:
        self._shown_at, self._pending = self._now(), False
        self.notice(self._line())
