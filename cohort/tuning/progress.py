"""A study as it goes: a live table on a terminal, plain lines now and then anywhere else."""

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cohort.reporting.display import Display
from cohort.reporting.formatting import duration, number
from cohort.tuning.results.naming import value_text

Status = Literal["finished", "stopped", "failed"]
FORM = ".4f"
"""How a value of the metric is written."""


@dataclass
class _Trial:
    labels: Mapping[str, Any]
    seed: int
    total_epochs: float | None
    began: float
    epoch: float = 0.0
    value: float | None = None

    def done(self, elapsed: float, usual: float) -> float:
        """Fraction that is done: of its epochs if both are known, else of the usual duration."""
        if self.total_epochs and self.epoch:
            return min(1.0, self.epoch / self.total_epochs)
        return min(1.0, elapsed / usual) if usual else 0.0


@dataclass
class _Best:
    """The best value so far and whose it is."""

    mode: Literal["max", "min"]
    value: float | None = None
    name: str = ""

    def consider(self, value: float | None, name: str) -> None:
        if value is None or not math.isfinite(value):
            return
        sign = 1 if self.mode == "max" else -1
        if self.value is None or sign * value > sign * self.value:
            self.value, self.name = value, name

    @property
    def text(self) -> str:
        return "" if self.value is None else f"{number(self.value, FORM)} of {self.name}"


class StudyProgress(Display):
    """Shows which trials run, how many have ended and how, and the best value so far.

    Args:
        metric: the name of the value that trials report.
        mode: whether more of it is better (``max``) or less (``min``).
        total: how many trials the study has.
        recorded: how many of them ended in earlier sessions.
        console: where to write; standard output by default.
        interval: least seconds between two plain lines about trials that run.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        metric: str,
        mode: Literal["max", "min"],
        total: int,
        *,
        recorded: int = 0,
        console: Console | None = None,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, interval, clock)
        self._metric = metric
        self._total = total
        self._recorded = recorded
        self._began = clock()
        self._running: dict[str, _Trial] = {}
        self._most = 0
        """As many trials have run at once."""
        self._ended: Counter[Status] = Counter()
        self._durations: list[float] = []
        self._best = _Best(mode)

    def known(self, labels: Mapping[str, Any], seed: int, value: float | None) -> None:
        """What a trial of an earlier session reached, to be compared with for the best so far."""
        self._best.consider(value, name_of(labels, seed))

    def started(
        self, trial: str, labels: Mapping[str, Any], seed: int, total_epochs: float | None
    ) -> None:
        """A trial begins, or goes on after a pause or a death: then its row stays as it is."""
        if trial not in self._running:
            self._running[trial] = _Trial(labels, seed, total_epochs, self._now())
            self._most = max(self._most, len(self._running))

    def reported(
        self, trial: str, epoch: float, value: float | None, total_epochs: float | None = None
    ) -> None:
        """A running trial has done so many epochs and stands at this value of the metric."""
        row = self._running[trial]
        row.epoch, row.value = epoch, value
        row.total_epochs = total_epochs or row.total_epochs
        self._changed()

    def ended(
        self, trial: str, status: Status, value: float | None, reason: str | None = None
    ) -> None:
        """A running trial is over: always one line of its own, with the reason if it failed."""
        row = self._running.pop(trial)
        seconds = self._now() - row.began
        self._durations.append(seconds)
        self._ended[status] += 1
        name = name_of(row.labels, row.seed)
        if status != "failed":
            self._best.consider(value, name)
        what = reason or "for no known reason" if status == "failed" else self._measured(value)
        self.notice(f"{name} {status} after {duration(seconds)}: {what}  ({self._overview()})")
        self._pending = bool(self._running)

    def _line(self) -> str:
        trials = " | ".join(self._plain(row) for row in self._running.values())
        return f"{self._overview()}  {trials}"

    def _overview(self) -> str:
        ended = self._recorded + self._ended.total()
        best = self._best.text and f"  best {self._best.text}"
        return f"{ended}/{self._total} trials  eta {self._eta()}{best}"

    def _left(self) -> int:
        return self._total - self._recorded - self._ended.total() - len(self._running)

    def _eta(self) -> str:
        if not self._durations:
            return duration(None)
        usual, now = statistics.fmean(self._durations), self._now()
        rests = [1 - row.done(now - row.began, usual) for row in self._running.values()]
        # Between an end and the next start fewer run for a moment.
        at_once = min(self._most, self._left() + len(rests))
        return duration(usual * (self._left() + math.fsum(rests)) / max(1, at_once))

    def _counts(self) -> str:
        before = f" (and {self._recorded} before)" if self._recorded else ""
        kinds: tuple[Status, ...] = ("finished", "stopped", "failed")
        ended = "  ".join(f"{self._ended[kind]} {kind}" for kind in kinds)
        return f"{ended}{before}  {len(self._running)} running  {self._left()} left"

    def _table(self) -> Group:
        table = Table("trial", box=None, pad_edge=False)
        for heading in ("seed", "epoch", self._metric, "elapsed"):
            table.add_column(heading, justify="right")
        for row in self._running.values():
            table.add_row(*self._cells(row))
        elapsed = duration(self._now() - self._began)
        head = [f"{self._counts()}  elapsed {elapsed}  eta {self._eta()}"]
        if self._best.text:
            head.append(f"best {self._metric} so far: {self._best.text}")
        # Above the table: where there are more trials than lines, the last rows are cut off.
        return Group(*map(Text, head), table)

    def _cells(self, row: _Trial) -> tuple[str, ...]:
        elapsed = duration(self._now() - row.began)
        epoch, value = _epochs(row), number(row.value, FORM)
        return (_labels(row.labels), str(row.seed), epoch, value, elapsed)

    def _plain(self, row: _Trial) -> str:
        name = name_of(row.labels, row.seed)
        return f"{name}: epoch {_epochs(row)} {self._measured(row.value)}"

    def _measured(self, value: float | None) -> str:
        return f"{self._metric} {number(value, FORM)}"


def name_of(labels: Mapping[str, Any], seed: int) -> str:
    """A trial as people call it.

    Example:
        >>> name_of({"k": 3, "lr": 0.0123456}, 1)
        'k=3 lr=0.01235 seed=1'
    """
    return " ".join(filter(None, (_labels(labels), f"seed={seed}")))


def _labels(labels: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value_text(value)}" for key, value in labels.items())


def _epochs(row: _Trial) -> str:
    return f"{row.epoch:g}" + (f"/{row.total_epochs:g}" if row.total_epochs else "")
