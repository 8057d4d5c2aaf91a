"""How many steps are submitted in one go: few where they are long, for a stop request waits for them."""

import time
from collections.abc import Callable

FEWEST, MOST = 4, 64
SHORT_SECONDS, LONG_SECONDS = 0.1, 0.4


class Pace:
    """The length of a chunk of steps, by how long the chunks before took to come back.

    Args:
        most: steps in a chunk, however short they are.
        now: seconds that only go forward.
    """

    def __init__(self, most: int = MOST, now: Callable[[], float] = time.perf_counter) -> None:
        self.chunk = FEWEST
        self._most = most
        self._now = now
        self._before: float | None = None

    def begin(self) -> None:
        """Nothing is in flight: the time until now was no chunk's."""
        self._before = None

    def came_back(self) -> None:
        """A chunk did; the one behind it was submitted already, so what passes until then is its own."""
        moment = self._now()
        if self._before is not None:
            took = moment - self._before
            if took < SHORT_SECONDS:
                self.chunk = min(2 * self.chunk, self._most)
            elif took > LONG_SECONDS:
                self.chunk = max(self.chunk // 2, FEWEST)
        self._before = moment
