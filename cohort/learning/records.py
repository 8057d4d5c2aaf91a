"""A learner's measurements, averaged over the steps of one line of metrics.jsonl."""

import torch

from cohort.objectives.mutual import Measurements

Record = dict[str, float]


class StepRecords:
    """Collects measurements on the device; reads them only once a window of steps is full.

    Windows end at multiples of ``every`` steps whatever the step they began at, so a resumed run
    writes the lines that an undisturbed one would.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._window: list[torch.Tensor] = []
        self._ready: list[Record] = []
        self._names: tuple[str, ...] = ()
        self._last = -1

    def add(self, step: int, measurements: Measurements) -> None:
        """Take in the measurements of one step."""
        self._window.append(torch.stack([m.float() for m in measurements.values()]))
        self._names = tuple(measurements)
        self._last = step

    @property
    def window_is_full(self) -> bool:
        """Whether the newest step is the last one of its window."""
        return (self._last + 1) % self.every == 0

    def close_window(self) -> None:
        """End the window here, full or not."""
        if self._window:
            means = torch.stack(self._window).mean(dim=0).tolist()
            self._ready.append(
                {"step": self._last + 1, **dict(zip(self._names, means, strict=True))}
            )
            self._window = []

    def drain(self) -> list[Record]:
        """The windows that closed since the last call, oldest first. ``step`` counts steps done."""
        ready, self._ready = self._ready, []
        return ready

    def clear(self) -> None:
        """Forget everything, as when a student goes back to a checkpoint."""
        self._window, self._ready = [], []
