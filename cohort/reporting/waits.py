"""Who waits for whom in a cohort of unlike students, in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORTH_SAYING = 0.05
"""Part of a host's time: less than this is waited between like students, too."""

LEAST_SECONDS = 0.05
"""An epoch; less is written as 0.0."""

Host = Mapping[str, Any]
"""A line of summary.json: ``students`` of a process, its busy and its waiting seconds an epoch."""


@dataclass(frozen=True)
class Delay:
    """Students who wait for others."""

    waiting: tuple[int, ...]
    seconds: float
    """An epoch, of those who wait longest."""
    slowest: tuple[int, ...]
    """Students of the host for which all others wait."""

    def __str__(self) -> str:
        verb = "waits" if len(self.waiting) == 1 else "wait"
        return (
            f"{named(self.waiting)} {verb} {self.seconds:.1f} s an epoch for {named(self.slowest)}"
        )


def delay_of(hosts: Sequence[Host]) -> Delay | None:
    """Whose students wait for those of the slowest host; None if it is not worth saying.

    All wait for posteriors to travel, the slowest host too: that is nobody's fault, and left out.

    Example:
        >>> fast = {"students": [0], "busy_seconds_per_epoch": 4.0, "wait_seconds_per_epoch": 7.5}
        >>> slow = {"students": [1], "busy_seconds_per_epoch": 11.0, "wait_seconds_per_epoch": 0.5}
        >>> str(delay_of([fast, slow]))
        'student 0 waits 7.0 s an epoch for student 1'
    """
    if len(hosts) < 2:
        return None
    slowest = min(hosts, key=_waits)
    delays = {id(host): _waits(host) - _waits(slowest) for host in hosts}
    late = [
        host
        for host in hosts
        if delays[id(host)] > max(LEAST_SECONDS, WORTH_SAYING * (_waits(host) + _busy(host)))
    ]
    if not late:
        return None
    waiting = tuple(student for host in late for student in host["students"])
    longest = max(delays[id(host)] for host in late)
    return Delay(tuple(sorted(waiting)), longest, tuple(slowest["students"]))


def named(students: Sequence[int]) -> str:
    """Students by their numbers.

    Example:
        >>> named([3]), named([0, 1, 4])
        ('student 3', 'students 0, 1 and 4')
    """
    *others, last = map(str, students)
    return f"students {', '.join(others)} and {last}" if others else f"student {last}"


def _waits(host: Host) -> float:
    return float(host["wait_seconds_per_epoch"])


def _busy(host: Host) -> float:
    return float(host["busy_seconds_per_epoch"])
