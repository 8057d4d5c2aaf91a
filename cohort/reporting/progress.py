"""A run as it goes: a live table on a terminal, a plain line now and then anywhere else."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cohort.reporting.chronometer import Chronometer
from cohort.reporting.display import Display, explain
from cohort.reporting.formatting import duration, number, percent
from cohort.reporting.records import Phase
from cohort.reporting.scores import MAP, headline, in_short

Row = Mapping[str, Any]
"""One student: student, model, loss, ce, kl, accuracy, images_per_second; any may be missing."""


MEANINGS = {
    "CE, KL": "the loss by labels and by teachers; mean of --log-every steps",
    "test %": "accuracy at the newest evaluation",
    "mAP %": "mean average precision at the newest evaluation",
}


class Progress(Display):
    """Shows how far a run is and how each student does.

    Args:
        total: the step at which the run ends.
        steps_per_epoch: to tell the epoch from the step.
        chronometer: the run's own if it has one, so that its pauses are known here.
        console: where to write; standard output by default.
        interval: least seconds between two plain lines.
    """

    def __init__(
        self,
        total: int,
        steps_per_epoch: int,
        *,
        chronometer: Chronometer | None = None,
        console: Console | None = None,
        interval: float = 5.0,
    ) -> None:
        self.chronometer = chronometer or Chronometer()
        self._total = total
        self._steps_per_epoch = steps_per_epoch
        super().__init__(console, interval, lambda: self.chronometer.elapsed)
        self._step = 0
        self._rows: Sequence[Row] = ()
        self._tested: dict[int | str, Row] = {}

    def update(self, step: int, student_rows: Sequence[Row]) -> None:
        """Show that ``step`` steps are done, and the students' training measurements."""
        self.chronometer.tick(step)
        self._step, self._rows = step, student_rows
        self._changed()

    def evaluated(self, step: int, rows: Sequence[Row], phase: Phase = "test") -> None:
        """Show measurements of a split, of students and of ``ensemble``.

        The table has those of the test split only.
        """
        if phase == "test":
            self._tested.update({row["student"]: row for row in rows})
        parts = [f"{_name(row)}: {in_short(row)}{_several(row)}" for row in rows]
        self.notice(f"step {step} {phase}  " + " | ".join(parts))

    def _line(self) -> str:
        students = " | ".join(_plain(row) for row in self._rows)
        return f"{self._position()}  eta {self._eta()}  {students}"

    def _position(self) -> str:
        # Rounded down: 100 % is only what is done.
        return f"step {self._step}/{self._total} ({100 * self._step // self._total} %)"

    def _eta(self) -> str:
        return duration(self.chronometer.eta(self._step, self._total))

    def _table(self) -> Group:
        table = Table("student", "network", box=None, pad_edge=False)
        found = any(headline(row) == MAP for row in self._tested.values())
        tested = "mAP %" if found else "test %"
        for heading in ("step", "loss", "CE", "KL", "accuracy %", "images/s", tested):
            table.add_column(heading, justify="right")
        for row in self._rows:
            table.add_row(*self._cells(row))
        explain(table, MEANINGS)
        epoch = self._step / self._steps_per_epoch
        elapsed = duration(self.chronometer.elapsed)
        foot = f"{self._position()}  epoch {epoch:.1f}  elapsed {elapsed}  eta {self._eta()}"
        return Group(table, Text(foot))

    def _cells(self, row: Row) -> tuple[str, ...]:
        tested = self._tested.get(row["student"], {})
        return (
            str(row["student"]),
            str(row.get("model", "")),
            str(row.get("step", self._step)),
            *(number(row.get(key)) for key in ("loss", "ce", "kl")),
            percent(row.get("accuracy")),
            number(row.get("images_per_second"), ".0f"),
            percent(tested.get(headline(tested))),
        )


def _name(row: Row) -> str:
    student = row["student"]
    return student if isinstance(student, str) else f"student {student}"


def _several(row: Row) -> str:
    """The accuracies of a student's exits, or of its members."""
    found = [(kind, row[kind]["accuracy"]) for kind in ("exits", "members") if kind in row]
    return "".join(f" {kind} {' '.join(map(percent, each))} %" for kind, each in found)


def _plain(row: Row) -> str:
    losses = " ".join(f"{key} {number(row.get(key), '.2f')}" for key in ("loss", "ce", "kl"))
    speed = number(row.get("images_per_second"), ".0f")
    return f"{_name(row)}: {losses} acc {percent(row.get('accuracy'))} %  {speed} img/s"
