"""Tables and progress, shown: how wide, with what said of their columns, live on a terminal or in lines."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cohort.reporting.live import Fitting, LiveFoot

NARROWEST = 160
"""Characters that keep every row on one line where no terminal says how wide it is."""


def console_for(console: Console | None = None) -> Console:
    """The console, standard output by default; if no terminal, as wide as the widest table.

    Files have no width, and rich would fold a table into 80 columns.
    """
    console = console or Console()
    if console.is_terminal:
        return console
    return Console(file=console.file, width=max(console.width, NARROWEST))


def explain(table: Table, meanings: Mapping[str, str], *notes: str) -> None:
    """Say under a table what its columns are, a line each, after lines that are about all of it.

    Args:
        table: the table with all its columns.
        meanings: by the heading, or by several with commas between; of columns that the table lacks
            nothing is said.
        notes: the lines before these.
    """
    # Hyphens are left out of account: some are only where a heading is folded.
    headings = [
        str(column.header).replace("-\n", "").replace("\n", " ").replace("-", "")
        for column in table.columns
    ]
    lines = list(notes)
    for names, meaning in meanings.items():
        if shown := [name for name in names.split(", ") if name.replace("-", "") in headings]:
            lines.append(f"{', '.join(shown)}: {meaning}")
    table.caption, table.caption_justify = Text("\n".join(lines)), "left"  # Text: no markup


class Display(ABC):
    """Shows something that changes all the time.

    Args:
        console: where to write; standard output by default.
        interval: least seconds between two plain lines.
        now: seconds that only go forward.
        before: lines that were printed already, and are to stay where the screen is drawn anew.
    """

    def __init__(
        self,
        console: Console | None,
        interval: float,
        now: Callable[[], float],
        before: Sequence[str] = (),
    ) -> None:
        self._console = console or Console()
        self._interval = interval
        self._now = now
        self._before = before
        self._live: LiveFoot | None = None
        self._shown_at: float | None = None
        self._pending = False

    def start(self) -> None:
        """Open the live table, if there is a terminal to draw it on."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            # Drawn by a function, so that the elapsed time moves on between two updates.
            self._live = LiveFoot(self._console, self._table, self._before)
            self._live.start()

    def notice(self, line: str | Fitting) -> None:
        """One plain line, above the table if there is one; elsewhere, all that it says."""
        if self._live is not None:
            self._live.print(line)
        else:
            text = line.texts[0] if isinstance(line, Fitting) else line
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._pending:
            self._show_line()
        self._pending = False

    @property
    def is_live(self) -> bool:
        """Whether a table is drawn all the time."""
        return self._live is not None

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
        """Take note that there is something new, and show it if it is time."""
        self._pending = True
        due = self._shown_at is None or self._now() - self._shown_at >= self._interval
        if self._live is None and due:
            self._show_line()

    def _show_line(self) -> None:
        self._shown_at, self._pending = self._now(), False
        self.notice(self._line())
