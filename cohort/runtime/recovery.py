"""What to do when students die, as they do with their process: a pure decision, and nothing else decides."""

from collections.abc import Sequence
from dataclasses import dataclass

from cohort.reporting.waits import named
from cohort.runtime.config import OnFailure


@dataclass(frozen=True)
class Restart:
    """New processes for the dead; everybody goes back to the last checkpoint."""

    students: tuple[int, ...]
    verb = "restarted"


@dataclass(frozen=True)
class Drop:
    """Everybody else goes back to the last checkpoint, and on without the dead."""

    students: tuple[int, ...]
    verb = "dropped"


@dataclass(frozen=True)
class Stop:
    """End the run with this sentence."""

    reason: str


Decision = Restart | Drop | Stop


@dataclass(frozen=True)
class RecoveryPolicy:
    """What the config's ``on_failure`` and ``max_failures`` say about deaths of students."""

    on_failure: OnFailure
    max_failures: int

    def decide(self, dead: Sequence[int], failures: int, alive: int) -> Decision:
        """What to do about students that died just now.

        Args:
            dead: their numbers.
            failures: deaths of processes in the whole run, these included.
            alive: how many students are left.
        """
        died = f"{named(dead)} died"
        if self.on_failure == "stop":
            return Stop(f"{died}, and --on-failure is stop")
        if failures > self.max_failures:
            return Stop(
                f"{died}; that makes {failures} death{'s' * (failures > 1)}, "
                f"and --max-failures is {self.max_failures}"
            )
        if self.on_failure == "restart":
            return Restart(tuple(dead))
        if alive == 0:
            return Stop(f"{died}, and none is left to go on")
        return Drop(tuple(dead))
