"""Who of those that owe an answer hangs: a pure judgment, and nothing else judges.

Ray reports a process that dies, and waits for ever for one that hangs. One that was stopped (SIGSTOP,
a debugger) will not move again by itself: it is ended, and its death is survived like any other. One
that computes is slow, and is never ended. Where nobody computes anything any more, all are stuck in
each other, and all are ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

STILL_LOOKS = 4
"""Looks in a row between which nobody computed, after which all are stuck."""
COMPUTING = 0.05
"""Share of a core below which a process is idle: Ray's own threads take about a hundredth."""


@dataclass(frozen=True)
class Watched:
    """A process that others wait for."""

    name: str
    """For the user: who lives in it."""
    node: str
    pid: int


@dataclass(frozen=True)
class Sight:
    """What a process is doing."""

    stopped: bool
    cpu_seconds: float


@dataclass(frozen=True)
class Verdict:
    """Whom to end, and a sentence about it; or nobody, and perhaps a sentence."""

    hanging: tuple[Watched, ...] = ()
    text: str | None = None


@dataclass
class Vigil:
    """The looks at those who owe one answer."""

    _told: bool = False
    _still: int = 0
    _before: Mapping[Watched, Sight] = field(default_factory=dict)
    _moment: float = 0.0

    def judge(self, seen: Mapping[Watched, Sight], waited: float, *, all_seen: bool) -> Verdict:
        """Who hangs, by what was seen after waiting for so many seconds.

        ``all_seen`` says that none is missing in ``seen``, for one that is may compute.
        """
        seconds = f"{waited:.0f} s"
        if stopped := tuple(each for each, sight in seen.items() if sight.stopped):
            were = "were" if len(stopped) > 1 else "was"
            return Verdict(
                stopped, f"{_names(stopped)} {were} stopped and silent for {seconds}: ended"
            )
        self._still = self._still + 1 if all_seen and self._all_idle(seen, waited) else 0
        self._before, self._moment = seen, waited
        if self._still >= STILL_LOOKS:
            everyone = tuple(seen)
            return Verdict(
                everyone,
                f"{_names(everyone)}: no answer, and nobody computed, for {seconds}: ended",
            )
        if self._told or not seen:
            return Verdict()
        self._told = True
        return Verdict(text=f"no answer for {seconds}, though all processes run; waiting for them")

    def _all_idle(self, seen: Mapping[Watched, Sight], waited: float) -> bool:
        """Whether nobody computed since the look before, at the same processes."""
        if not seen or seen.keys() != self._before.keys():
            return False
        enough = COMPUTING * (waited - self._moment)
        return all(s.cpu_seconds - self._before[p].cpu_seconds < enough for p, s in seen.items())


def _names(processes: tuple[Watched, ...]) -> str:
    return " and ".join(each.name for each in processes)
