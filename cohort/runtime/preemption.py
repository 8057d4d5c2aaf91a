"""Nodes that are to go: of a preemption, or of its SIGTERM, Ray learns some time before a node is lost."""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable

from cohort.runtime.private_ray import draining_nodes

SECONDS = 2.0
"""Between two looks; of a preemption one learns half a minute before, or more."""


class NodeNotices:
    """Looks, in a thread, which nodes of the cluster are to go.

    Args:
        look: names them.
    """

    def __init__(self, look: Callable[[], Collection[str]] = draining_nodes) -> None:
        self._look = look
        self.going: frozenset[str] = frozenset()
        self._told: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="notices of nodes")
        self._thread.start()

    def new(self, among: Iterable[str]) -> frozenset[str]:
        """Those of some nodes that are to go; each is named once."""
        found = self.going.intersection(among) - self._told
        self._told |= found
        return found

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._thread.join(SECONDS)  # a cluster that is gone may not answer

    def _run(self) -> None:
        while not self._closing.wait(SECONDS):
            with contextlib.suppress(Exception):  # a look that fails is no notice
                self.going = frozenset(self._look())
