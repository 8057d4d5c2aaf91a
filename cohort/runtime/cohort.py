"""What the coordinator sees of a cohort, whichever way its students run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

from torch import Tensor

from cohort.learning.learner import Files
from cohort.learning.windows import Means
from cohort.runtime.clock import Times

OnRecords = Callable[[int, Sequence[Means]], None]
"""Called with a student's number and the measurements that became due."""
Stopping = Callable[[], bool]
"""Whether somebody asked the run to stop."""
HeldOut = Literal["test", "validation"]
Load = Callable[[int], Files]
"""A student's files in a checkpoint."""


class Cohort(Protocol):
    """K students that can be advanced step by step. Student numbers stay when others are dropped."""

    @property
    def students(self) -> tuple[int, ...]:
        """Numbers of the students in the cohort."""
        ...

    @property
    def parameters(self) -> Mapping[int, int]:
        """How many parameters each student has."""
        ...

    def advance(self, start: int, stop: int, on_records: OnRecords, stopping: Stopping) -> int:
        """Train from ``start`` to ``stop`` steps done; less if ``stopping``. Returns steps done.

        All students are then at that same step with nothing in flight.
        """
        ...

    def flush_records(self, on_records: OnRecords) -> None:
        """Hand over the measurements of the steps since the last full window."""
        ...

    def listen(self, tell: Callable[[str], None]) -> None:
        """Say to ``tell`` at once what comes up while the cohort waits for its processes."""
        ...

    def notices(self) -> list[str]:
        """Sentences for the user that came up since the last call."""
        ...

    def leaving(self) -> tuple[int, ...]:
        """Students whose nodes are to go, each told once: a checkpoint is wanted before that."""
        ...

    def answers(self, split: HeldOut) -> dict[int, Tensor]:
        """What a split asks of each student: log-posteriors [N, C], or, of a ``Search``, features [N, D]."""
        ...

    def train_entropies(self) -> dict[int, float]:
        """Mean entropy in nats of each student's evaluation posterior over the training split."""
        ...

    def snapshots(self) -> Iterator[tuple[int, Files]]:
        """Every student's state after the last step.

        It was asked of all at once, and is fetched by whoever iterates, in whichever thread, while
        the students may go on.
        """
        ...

    def restore(self, load: Load) -> None:
        """Put every student back to a checkpoint."""
        ...

    def weights_sha256(self) -> dict[int, str]:
        """Hash of each student's parameters and buffers."""
        ...

    def times(self) -> Mapping[tuple[int, ...], Times]:
        """Of each process, by its students: seconds busy and waiting in the steps since the last call."""
        ...

    def casualties(self) -> tuple[tuple[int, ...], ...]:
        """Of each process that is dead, or hung and was ended, the students that it held."""
        ...

    def replace(self, students: Sequence[int]) -> None:
        """Start new processes, at step 0, for students that died."""
        ...

    def drop(self, students: Sequence[int]) -> None:
        """Leave students out of the cohort, which goes on without them."""
        ...

    def close(self) -> None:
        """Free processes and resources."""
        ...
