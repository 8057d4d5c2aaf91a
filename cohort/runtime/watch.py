"""Waiting for answers of Ray's processes, and looking at these when none comes."""

import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cohort.runtime.liveness import Sight, Vigil, Watched

HANG_AFTER = 30.0
"""Seconds without an answer after which processes are looked at, by default."""
TIMES = 10
"""And no sooner than after so many times the longest that such an answer took."""
LOOK_SECONDS = 20.0
"""How long a node may take to tell of its processes; a lost one is Ray's to notice."""


class Watch:
    """``ray.get`` and ``ray.wait`` that do not wait for ever.

    Args:
        processes: that live now.
        hang_after: seconds without an answer after which they are looked at.
        tell: sentences for the user.
    """

    def __init__(
        self,
        processes: Callable[[], Sequence[Watched]] = tuple,
        *,
        hang_after: float | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.tell = tell
        self._processes = processes
        self._hang_after = HANG_AFTER if hang_after is None else hang_after
        self._longest: defaultdict[str, float] = defaultdict(float)

    def patience(self, what: str) -> float:
        """Seconds that an answer of this kind may take before somebody is looked at."""
        return max(self._hang_after, TIMES * self._longest[what])

    def get(self, answers: Any, what: str) -> Any:
        """As ``ray.get``; whoever hangs is ended, so that Ray raises its death."""
        wait = self.begin(what)
        while True:
            try:
                values = ray.get(answers, timeout=wait.patience)
            except ray.exceptions.GetTimeoutError:
                wait.look()
            else:
                wait.over()
                return values

    def wait(self, answers: Sequence[Any], what: str) -> None:
        """Return when each answer has come, an error or not."""
        wait = self.begin(what)
        while answers:
            _, answers = ray.wait(list(answers), num_returns=len(answers), timeout=wait.patience)
            if answers:
                wait.look()
        wait.over()

    def begin(self, what: str) -> "Wait":
        """A wait that begins now."""
        return Wait(self, what)

    def took(self, what: str, seconds: float) -> None:
        """Learn how long an answer of a kind takes."""
        self._longest[what] = max(self._longest[what], seconds)

    def look(self, vigil: Vigil, waited: float) -> bool:
        """Look at all processes, and end those that hang; whether there were any."""
        watched = self._processes()
        seen = look_at(watched)
        verdict = vigil.judge(seen, waited, all_seen=len(seen) == len(watched))
        if verdict.text:
            self.tell(verdict.text)
        end(verdict.hanging)
        return bool(verdict.hanging)


class Wait:
    """For one answer, from now on."""

    def __init__(self, watch: Watch, what: str) -> None:
        self._watch = watch
        self._what = what
        self._began = self._looked = time.monotonic()
        self._vigil = Vigil()
        self._ended = False

    @property
    def patience(self) -> float:
        """Seconds between two looks."""
        return self._watch.patience(self._what)

    @property
    def late(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() - self._looked > self.patience

    def look(self) -> None:
        """Look at all processes, and end those that hang."""
        waited = time.monotonic() - self._began
        self._ended = self._watch.look(self._vigil, waited) or self._ended
        self._looked = time.monotonic()

    def over(self) -> None:
        """The answer came. After a hang, that is no measure for how long answers take."""
        if not self._ended:
            self._watch.took(self._what, time.monotonic() - self._began)


UNWATCHED = Watch()
"""Of processes that nobody looks at."""


def look_at(processes: Sequence[Watched]) -> dict[Watched, Sight]:
    """What processes are doing, as their nodes tell; without those of a node that does not answer."""
    asked = {
        node: _on(node, _sights).remote([each.pid for each in here])
        for node, here in _by_node(processes).items()
    }
    told: dict[str, Mapping[int, Sight]] = {node: _answer(asked[node]) for node in asked}
    return {p: told[p.node][p.pid] for p in processes if p.pid in told[p.node]}


def end(processes: Sequence[Watched]) -> None:
    """Kill processes on their nodes: one that was stopped ends by nothing else."""
    for node, here in _by_node(processes).items():
        _answer(_on(node, _kill).remote([each.pid for each in here]))


def _by_node(processes: Sequence[Watched]) -> dict[str, list[Watched]]:
    nodes = dict.fromkeys(each.node for each in processes)
    return {node: [each for each in processes if each.node == node] for node in nodes}


def _on(node: str, function: Callable[..., Any]) -> Any:
    """A task for a node, which takes no place of others."""
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=place)


def _answer(asked: Any) -> Any:
    """What a node tells; nothing if it does not."""
    with contextlib.suppress(ray.exceptions.RayError):
        return ray.get(asked, timeout=LOOK_SECONDS)
    return {}


def _sights(pids: Sequence[int]) -> dict[int, Sight]:
    """Of those of the processes that live here, beside this one."""
    seen = {}
    for process in _here(pids):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            seen[process.pid] = _sight(process)
    return seen


def _sight(process: psutil.Process) -> Sight:
    times = process.cpu_times()
    stopped = process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return Sight(stopped, times.user + times.system)


def _kill(pids: Sequence[int]) -> None:
    for process in _here(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def _here(pids: Sequence[int]) -> list[psutil.Process]:
    """Processes of this node's Ray: a number may be another's by now."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.ppid() == os.getppid():
                found.append(process)
    return found
