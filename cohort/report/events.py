"""What happened to a run, when, and what its time was spent on."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cohort.report.drawing import Course
from cohort.report.reading import RunFiles
from cohort.report.tables import Heading, Table
from cohort.reporting.formatting import duration, is_number, number, percent
from cohort.reporting.waits import delay_of, named

POINTS = 400
PARTS = {"batch": "batches", "predict": "predicts", "learn": "learns"}
"""Of what a process computes, in summary.json, and what it is called."""


def course_of(run: RunFiles) -> Course:
    """The steps that were recorded over the minutes since the first line, and the events."""
    began = _began(run)
    steps: dict[float, float] = {}
    for record in run.records:
        minute = (record["time"] - began) / 60
        steps[minute] = max(record["step"], steps.get(minute, 0))
    minutes = sorted(steps)[:: max(1, len(steps) // POINTS)]
    events = [((event["time"] - began) / 60, event["step"]) for event in run.events]
    return Course(minutes, [steps[minute] for minute in minutes], events)


def events_table(run: RunFiles) -> Table:
    """A row for each event, numbered as in the figure."""
    began = _began(run)
    rows = [
        (
            str(count),
            duration(event["time"] - began),
            _clock(event["time"]),
            number(event["step"], ",d"),
            str(event.get("text", "")),
        )
        for count, event in enumerate(run.events, start=1)
    ]
    headings = (
        Heading("", right=True),
        Heading("after", right=True),
        Heading("at (UTC)"),
        Heading("step", right=True),
        Heading("what"),
    )
    keys = ("time", "step", "epoch", "text")
    data = [{key: event.get(key) for key in keys} for event in run.events]
    return Table(name="events", title="Events", headings=headings, rows=rows, data=data)


def times_table(run: RunFiles) -> Table | None:
    """Seconds and share of what the whole run took; None for a run that did not measure them."""
    lines = [line for line in run.summary.get("times") or () if is_number(line.get("seconds"))]
    whole = run.summary.get("wall_seconds")
    if not lines or not is_number(whole) or not whole:
        return None
    left = whole - sum(line["seconds"] for line in lines)
    if left > 0.005 * whole:
        lines = [*lines, {"what": "other", "seconds": left}]
    rows = [
        (str(line["what"]), number(line["seconds"], ",.1f"), percent(line["seconds"] / whole))
        for line in lines
    ]
    headings = (Heading("what"), Heading("seconds", right=True), Heading("share %", right=True))
    notes = (
        "training: without evaluation, checkpoints and recovery",
        "checkpoints: until they are handed over; they are written while training goes on",
        "other: start-up, and what is done at the end",
    )
    shown = tuple(note for note in notes if any(note.startswith(f"{row[0]}:") for row in rows))
    return Table(
        name="times", title="The run", headings=headings, rows=rows, data=lines, notes=shown
    )


def hosts_table(run: RunFiles) -> Table | None:
    """What each process of students is busy with, and who waits for whom."""
    hosts = _hosts(run)
    if not hosts:
        return None
    parts = [part for part in PARTS if any(_seconds(host, part) is not None for host in hosts)]
    rows = []
    for host in hosts:
        busy, waits = (host[f"{what}_seconds_per_epoch"] for what in ("busy", "wait"))
        share = percent(waits / (busy + waits)) if busy + waits else percent(None)
        seconds = [_seconds(host, part) for part in parts]
        shown = [number(spent, ",.3f") for spent in (*seconds, busy, waits)]
        rows.append((named(host["students"]), *shown, share))
    headings = (
        Heading("process of"),
        *(Heading(PARTS[part], right=True) for part in parts),
        Heading("computes", right=True),
        Heading("waits", right=True),
        Heading("waits %", right=True),
    )
    notes = (
        "computes: batches, predictions and learning of its own students",
        "waits: for the posteriors of other processes; waits %: of both",
    )
    return Table(
        name="hosts",
        title="Seconds an epoch, by process",
        headings=headings,
        rows=rows,
        data=hosts,
        notes=notes,
    )


def stragglers(run: RunFiles) -> list[str]:
    """A sentence on who waits for whom, if it is worth saying."""
    delay = delay_of(_hosts(run))
    return [] if delay is None else [f"{str(delay)[0].upper()}{str(delay)[1:]}."]


def _hosts(run: RunFiles) -> list[Mapping[str, Any]]:
    return list(run.summary.get("hosts") or ())


def _seconds(host: Mapping[str, Any], part: str) -> float | None:
    seconds = host.get(f"{part}_seconds_per_epoch")
    return float(seconds) if is_number(seconds) else None


def _began(run: RunFiles) -> float:
    return min((line["time"] for line in (*run.records, *run.events)), default=0.0)


def _clock(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):  # no time that a calendar has
        return number(None)
