"""Nodes of a job's workers that are to go: the workers write a checkpoint first."""

from collections.abc import Callable, Mapping
from typing import Any

from ray.actor import ActorProxy

from cohort.jobs.mailbox import Mailbox, Place
from cohort.runtime.preemption import NodeNotices


class Departures:
    """Has a checkpoint written once for each notice, and says so.

    Args:
        mailbox: of the workers.
        ask: waits for what it answers.
        tell: sentences for the user.
        nodes: which nodes are to go.
        settle: waits until the newest checkpoint is on disk.
    """

    def __init__(
        self,
        mailbox: ActorProxy[Mailbox],
        ask: Callable[[Any], Any],
        tell: Callable[[str], None],
        nodes: NodeNotices,
        settle: Callable[[], None],
    ) -> None:
        self._mailbox = mailbox
        self._ask = ask
        self._tell = tell
        self._nodes = nodes
        self._settle = settle
        self._leaving: set[int] = set()

    def look(self) -> None:
        """Ask for a checkpoint if nodes of workers are to go."""
        if not self._nodes.going:
            return
        places: Mapping[int, Place] = self._ask(self._mailbox.places.remote())
        nodes = self._nodes.new(place.node for place in places.values())
        leaving = {rank for rank, place in places.items() if place.node in nodes}
        if leaving:
            self._leaving |= leaving
            self._ask(self._mailbox.want_checkpoint.remote())

    def saved(self, step: int) -> None:
        """Take note of a checkpoint."""
        if self._leaving:
            self._settle()
            numbers = ", ".join(map(str, sorted(self._leaving)))
            self._tell(f"the node of worker {numbers} is to go; checkpoint at step {step}")
            self._leaving.clear()
