"""The source of truth of a run: one JSON object a line, from which everything else is drawn."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from cohort.errors import ConfigError
from cohort.files import atomic_write, to_json

Record = dict[str, Any]
Phase = Literal["train", "validation", "test"]
EVENT = "event"
"""The phase of a line that measures nothing: what happened, in a sentence under ``text``."""


def make_record(
    *, phase: Phase, step: int, epoch: float, student: int | str, measurements: Mapping[str, Any]
) -> Record:
    """A record made now; ``student`` is its number, or ``ensemble`` for the mean posterior."""
    head = {"time": time.time(), "phase": phase, "step": step, "epoch": epoch, "student": student}
    return {**head, **measurements}


class MetricsLog:
    """Appends each record to ``metrics.jsonl`` and flushes it.

    To go on with a run that was killed, ``rewind`` the file before opening it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Record) -> None:
        """Append one line; a measurement that is not finite is stored as null."""
        self._file.write(to_json(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; what could not be written, on a full disk, was complained of by then."""
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def rewind(path: Path, step: int, *, ended: bool = False) -> None:
        """Keep only the whole lines up to a step, atomically.

        Later ones were written after the checkpoint from which the run goes on, which will write
        them again; a torn last one is what a killed run leaves. ``ended``: no step is left to train,
        and what will be written again is the evaluation at this one.
        """
        lines = ((line, _parse(line)) for line in path.read_bytes().splitlines())
        kept = [
            line
            for line, record in lines
            if record is not None
            and isinstance(done := record.get("step"), int)  # else it is damaged
            and done <= step
            and not (ended and done == step and record.get("phase") not in ("train", EVENT))
        ]
        atomic_write(path, b"".join(line + b"\n" for line in kept))


def make_event(step: int, epoch: float, text: str) -> Record:
    """A line for what happened now, after ``step`` steps."""
    return {"time": time.time(), "phase": EVENT, "step": step, "epoch": epoch, "text": text}


def read_metrics(path: Path) -> Iterator[Record]:
    """What a run measured, also while it is being written: a torn last line is left out.

    Raises:
        ConfigError: if any other line is not a JSON object.
    """
    return (record for record in read_lines(path) if record.get("phase") != EVENT)


def read_lines(path: Path) -> Iterator[Record]:
    """``read_metrics``, and what happened to the run."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # Not asked of the file: the rest of a torn line may have arrived since it was read.
            if not line.endswith(b"\n"):
                return
            record = _parse(line)
            if record is None:
                raise ConfigError(f"{path} is damaged: line {number} is not a JSON object")
            yield record


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
