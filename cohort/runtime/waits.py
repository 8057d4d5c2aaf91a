"""What a run knows of its hosts' time: who computes, and who waits for whom."""

from collections.abc import Callable, Mapping
from typing import Any

from cohort.reporting.waits import delay_of
from cohort.runtime.clock import Times


class Waits:
    """Adds up the hosts' times, and says who the slowest is once that is known or has changed.

    Args:
        notice: shows a sentence to the user.
        steps_per_epoch: to tell the time of an epoch from that of some steps.
    """

    def __init__(self, notice: Callable[[str], None], steps_per_epoch: int) -> None:
        self._notice = notice
        self._steps_per_epoch = steps_per_epoch
        self._times: dict[tuple[int, ...], Times] = {}
        self._steps = 0
        self._slowest: tuple[int, ...] = ()

    def add(self, times: Mapping[tuple[int, ...], Times], steps: int) -> None:
        """What these hosts, by their students, took for some more steps; others are forgotten."""
        if times.keys() != self._times.keys():
            self._times, self._steps = dict.fromkeys(times, Times()), 0
        self._times = {host: self._times[host] + more for host, more in times.items()}
        self._steps += steps
        delay = delay_of(self.hosts())
        if delay is not None and delay.slowest != self._slowest:
            self._slowest = delay.slowest
            self._notice(str(delay))

    def hosts(self) -> list[dict[str, Any]]:
        """For the summary: of each host its students, and its seconds an epoch."""
        if not self._steps:
            return []
        epochs = self._steps / self._steps_per_epoch
        apart = len(self._times) > 1  # one host waits for nobody
        lines: list[dict[str, Any]] = []
        for students, times in self._times.items():
            seconds = {"busy": times.busy, "wait": times.waited if apart else 0.0, **times.parts}
            named = {f"{what}_seconds_per_epoch": spent / epochs for what, spent in seconds.items()}
            lines.append({"students": list(students), **named})
        return lines
