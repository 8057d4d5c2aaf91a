"""A run as it goes: a live table on a terminal, a plain line now and then anywhere else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cohort.reporting.chronometer import Chronometer
from cohort.reporting.display import Display, explain
from cohort.reporting.formatting import DASH, duration, number, percent
from cohort.reporting.live import Fitting
from cohort.reporting.records import Phase
from cohort.reporting.scores import MAP, headline, in_short

Row = Mapping[str, Any]
"""One student: student, model, loss, ce, kl, accuracy, images_per_second; any may be missing."""

ENSEMBLE = "ensemble"
TESTED: Mapping[Phase, str] = {"validation": "val", "test": "test"}
"""The splits with a column, as it is called."""
MEANINGS = {
    "CE, KL": "the loss by labels and by teachers; mean of --log-every steps",
    "train %": "accuracy on the images of these steps",
    "val %, test %": "accuracy at the newest evaluation",
    "val mAP %, test mAP %": "mean average precision at the newest evaluation",
}
DISPENSABLE = ("network", "images/s", "KL", "CE", "loss", "train %")
"""Columns that are left out where the window is too narrow for all, the first of them first."""
GAP = 2  # characters between two columns


class Progress(Display):
    """Shows how far a run is and how each student does.

    Args:
        total: the step at which the run ends.
        steps_per_epoch: to tell the epoch from the step.
        chronometer: the run's own if it has one, so that its pauses are known here.
        console: where to write; standard output by default.
        interval: least seconds between two plain lines.
        learning_rate: of a step.
        asked: a line on what somebody asked of the run, to be shown until it ends, or nothing.
        before: lines that were printed already.
    """

    def __init__(
        self,
        total: int,
        steps_per_epoch: int,
        *,
        chronometer: Chronometer | None = None,
        console: Console | None = None,
        interval: float = 5.0,
        learning_rate: Callable[[int], float] | None = None,
        asked: Callable[[], str] = str,
        before: Sequence[str] = (),
    ) -> None:
        self.chronometer = chronometer or Chronometer()
        self._total = total
        self._steps_per_epoch = steps_per_epoch
        super().__init__(console, interval, lambda: self.chronometer.elapsed, before)
        self._learning_rate = learning_rate
        self._asked = asked
        self._step = 0
        self._rows: Sequence[Row] = ()
        self._measured: dict[Phase, dict[int | str, Row]] = {}

    def begin(self, step: int, student_rows: Sequence[Row]) -> None:
        """Show who trains, at ``step`` steps done, of whom nothing is measured yet."""
        self._step, self._rows = step, student_rows

    def update(self, step: int, student_rows: Sequence[Row]) -> None:
        """Show that ``step`` steps are done, and the students' training measurements."""
        self.chronometer.tick(step)
        self._step, self._rows = step, student_rows
        self._changed()

    def evaluated(self, step: int, rows: Sequence[Row], phase: Phase = "test") -> None:
        """Show measurements of a split, of students and of ``ensemble``."""
        self._measured.setdefault(phase, {}).update({row["student"]: row for row in rows})
        full = [f"{_name(row)}: {in_short(row)}{_several(row)}" for row in rows]
        brief = [f"{row['student']}: {_in_brief(row)}" for row in rows]
        together = [row for row in rows if row["student"] == ENSEMBLE] or rows
        head = f"step {step} {phase}  "
        self.notice(
            Fitting(
                head + " | ".join(full),
                head + " | ".join(brief) + " %",
                head + " | ".join(f"{_name(row)}: {in_short(row)}" for row in together),
            )
        )

    def finish(self) -> None:
        """Leave the last state on the screen."""
        self._asked = str
        super().finish()

    def _line(self) -> str:
        students = " | ".join(_plain(row) for row in self._rows)
        return "  ".join([self._position(), *self._rate(), f"eta {self._eta()}", students])

    def _position(self) -> str:
        # Rounded down: 100 % is only what is done.
        return f"step {self._step}/{self._total} ({100 * self._step // self._total} %)"

    def _rate(self) -> list[str]:
        """The learning rate of the newest step, if it is known."""
        if self._learning_rate is None:
            return []
        return [f"lr {self._learning_rate(max(self._step - 1, 0)):.4g}"]

    def _eta(self) -> str:
        return duration(self.chronometer.eta(self._step, self._total))

    def _table(self) -> Group:
        columns = self._columns()
        width = self._console.width
        for heading in DISPENSABLE:
            if _width(columns) > width:
                columns.pop(heading, None)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
        for heading in columns:
            table.add_column(
                heading,
                justify="left" if heading in ("student", "network") else "right",
                no_wrap=True,
            )
        for cells in zip(*columns.values(), strict=True):
            table.add_row(*cells)
        explain(table, MEANINGS)
        meanings, table.caption = table.caption or "", None  # which is as wide as the table only
        # Above the table: where there are more students than lines, the last ones are cut off.
        return Group(Text(self._head(width)), table, meanings)

    def _head(self, width: int) -> str:
        """Where the run is, in as many lines as the parts need, of which none is broken."""
        parts = [
            self._position(),
            f"epoch {self._step / self._steps_per_epoch:.1f}",
            *self._rate(),
            f"elapsed {duration(self.chronometer.elapsed)}",
            f"eta {self._eta()}",
        ]
        lines = [asked, ""] if (asked := self._asked()) else [""]
        for part in parts:
            longer = f"{lines[-1]}  {part}" if lines[-1] else part
            if len(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(part)
        return "\n".join(lines)

    def _columns(self) -> dict[str, list[str]]:
        """By heading, a cell for each student and, if it was measured, for the ensemble."""
        rows = list(self._rows)
        measured = [each for each in self._measured.values() if ENSEMBLE in each]
        if measured and len(rows) > 1:
            rows.append({"student": ENSEMBLE, "model": DASH})
        columns = {
            "student": [str(row["student"]) for row in rows],
            "network": [str(row.get("model", "")) for row in rows],
            "loss": [number(row.get("loss")) for row in rows],
            "CE": [number(row.get("ce")) for row in rows],
            "KL": [number(row.get("kl")) for row in rows],
            "train %": [percent(row.get("accuracy")) for row in rows],
        }
        for phase, name in TESTED.items():
            if phase in self._measured or phase == "test":
                heading, cells = self._of_split(self._measured.get(phase, {}), rows)
                columns[f"{name} {heading}"] = cells
        columns["images/s"] = [number(row.get("images_per_second"), ".0f") for row in rows]
        return columns

    def _of_split(
        self, measured: Mapping[int | str, Row], rows: Sequence[Row]
    ) -> tuple[str, list[str]]:
        found = any(headline(row) == MAP for row in measured.values())
        each = [measured.get(row["student"], {}) for row in rows]
        return "mAP %" if found else "%", [percent(row.get(headline(row))) for row in each]


def _in_brief(row: Row) -> str:
    """The measurement by which a row is judged, in percent."""
    return percent(row.get(headline(row)))


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(max(map(len, (heading, *cells))) + GAP for heading, cells in columns.items())


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
