"""What a tracker takes, under which names, and what it remembers in the folder of a run."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cohort.files import atomic_write, to_json
from cohort.reporting.records import Record

HEAD = frozenset({"time", "phase", "step", "epoch", "student"})
"""The keys of a record that say what was measured rather than how much."""
MEMORY = "trackers.json"
"""By tracker, what it needs to go on with the same run of its own when ours is resumed."""
_WRITING = threading.Lock()


@dataclass(frozen=True)
class About:
    """The run of which a tracker is told."""

    folder: Path
    name: str
    config: Mapping[str, Any]
    """What config.yaml has."""


class Tracker(Protocol):
    """Takes what a run says. Whatever it raises ends the tracker, never the run."""

    def write(self, records: Sequence[Record]) -> None:
        """Take some records, in order."""

    def rewind(self, step: int) -> None:
        """What was written after this step will be written again."""

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Take what summary.json holds."""

    def close(self, status: str) -> None:
        """Put everything away; the run has ended ``finished``, ``interrupted`` or ``failed``."""


def scalars(record: Record) -> Iterator[tuple[str, float]]:
    """Every number of a record with its name.

    Example:
        >>> list(scalars({"phase": "test", "step": 9, "student": 0, "exits": {"ce": [2.0, 1.0]}}))
        [('test/exits/ce/1/student_0', 2.0), ('test/exits/ce/2/student_0', 1.0)]
    """
    student = record["student"]
    who = student if isinstance(student, str) else f"student_{student}"
    for name, value in numbers({k: v for k, v in record.items() if k not in HEAD}):
        yield f"{record['phase']}/{name}/{who}", value


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by path, ``exits/ce/1`` for those in lists and dicts; lists from 1."""
    if isinstance(value, int | float):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value, start=1)
        for key, item in items:
            yield from numbers(item, f"{name}/{key}" if name else str(key))


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What stands in a config or a summary, by path; what is None is left out.

    Example:
        >>> dict(flat({"k": 2, "lr": None, "students": [{"model": "resnet8"}], "dropped": []}))
        {'k': 2, 'students.0.model': 'resnet8'}
    """
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from flat(item, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, value


def remembered(folder: Path, tracker: str) -> dict[str, str]:
    """What a tracker put down in the folder of a run; nothing if it did not, or it is damaged."""
    found = _memory(folder).get(tracker)
    return found if isinstance(found, dict) else {}


def remember(folder: Path, tracker: str, values: Mapping[str, str]) -> None:
    """Put it down, beside what others did."""
    with _WRITING:
        atomic_write(folder / MEMORY, to_json({**_memory(folder), tracker: values}, indent=1))


def _memory(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
