"""Somebody who watches over a run from outside, such as a study that may stop it early."""

from typing import Protocol


class Watcher(Protocol):
    """Told of every checkpoint, and asked after every step whether the run is to go on."""

    def saved(self, step: int, total_steps: int) -> None:
        """A checkpoint of ``step`` steps done is on disk, and so are all records up to it."""
        ...

    def stopping(self) -> bool:
        """Whether the run is to end here, with a checkpoint, as after Ctrl-C."""
        ...
