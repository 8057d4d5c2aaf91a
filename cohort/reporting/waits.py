"""Who waits for whom in a cohort of unlike students, in a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

WORTH_SAYING = 0.05
"""Part of a host's time: less than this is spent by like students, too."""

Host = Mapping[str, Any]
"""``students`` of a process, and its ``busy_seconds`` and ``wait_seconds`` an epoch."""


def who_waits(hosts: Sequence[Host]) -> str | None:
    """Whose students wait how long for those of the slowest host; None if it is not worth saying.

    All wait for posteriors to travel, the slowest host too: that is nobody's fault and left out.

    Example:
        >>> who_waits(
        ...     [
        ...         {"students": [0], "busy_seconds": 4.0, "wait_seconds": 7.5},
        ...         {"students": [1], "busy_seconds": 11.0, "wait_seconds": 0.5},
        ...     ]
        ... )
        'student 0 waits 7.0 s an epoch for student 1'
    """
    if len(hosts) < 2:
        return None
    slowest = min(hosts, key=lambda host: float(host["wait_seconds"]))
    delayed = {}
    for host in hosts:
        delay = host["wait_seconds"] - slowest["wait_seconds"]
        if delay > WORTH_SAYING * (host["busy_seconds"] + host["wait_seconds"]):
            delayed[id(host)] = (host, delay)
    if not delayed:
        return None
    who = [student for host, _ in delayed.values() for student in host["students"]]
    longest = max(delay for _, delay in delayed.values())
    verb = "waits" if len(who) == 1 else "wait"
    up_to = "" if len(delayed) == 1 else "up to "
    return f"{named(who)} {verb} {up_to}{longest:.1f} s an epoch for {named(slowest['students'])}"


def named(students: Sequence[int]) -> str:
    """Students by their numbers.

    Example:
        >>> named([3]), named([0, 1, 4])
        ('student 3', 'students 0, 1 and 4')
    """
    *others, last = map(str, students)
    return f"students {', '.join(others)} and {last}" if others else f"student {last}"
