"""A learner's measurements, averaged over windows of steps, each a line of metrics.jsonl."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from cohort.objectives.objective import Measurements

Means = dict[str, Any]
"""``step``, the steps done when a window ended, and the mean of every measurement over its steps;
the vectors of a network with exits nest: ``{"exits": {"ce": [...]}}``."""


class Windows:
    """The windows over whose steps measurements are averaged; read from the device once they are full.

    They end at multiples of ``every`` steps whatever the step they began at, so a resumed run
    writes the lines that an undisturbed one would. ``average`` is the mean of a tensor over the
    workers of a data-parallel job, all of which end their windows at the same steps.
    """

    def __init__(
        self, every: int, average: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> None:
        self.every = every
        self._average = average or (lambda means: means)
        self._window: list[torch.Tensor] = []
        self._ready: list[Means] = []
        self._shapes: dict[str, torch.Size] = {}
        self._last = -1

    def add(self, step: int, measurements: Measurements) -> None:
        """Take in the measurements of one step."""
        self._window.append(torch.cat([m.float().flatten() for m in measurements.values()]))
        self._shapes = {name: m.shape for name, m in measurements.items()}
        self._last = step

    @property
    def window_is_full(self) -> bool:
        """Whether the newest step is the last one of its window."""
        return (self._last + 1) % self.every == 0

    def close_window(self) -> None:
        """End the window here, full or not."""
        if self._window:
            means = self._average(torch.stack(self._window).mean(dim=0)).tolist()
            self._ready.append({"step": self._last + 1, **_nested(means, self._shapes)})
            self._window = []

    def drain(self) -> list[Means]:
        """The means of the windows that closed since the last call, oldest first."""
        ready, self._ready = self._ready, []
        return ready

    def clear(self) -> None:
        """Forget everything, as when a student goes back to a checkpoint."""
        self._window, self._ready = [], []


def _nested(values: Sequence[float], shapes: Mapping[str, torch.Size]) -> Means:
    """Numbers in a row, as scalars and lists by name; ``exits/ce`` becomes ``ce`` in ``exits``."""
    nested: Means = {}
    remaining = iter(values)
    for name, shape in shapes.items():
        numbers = [next(remaining) for _ in range(shape.numel())]
        *groups, key = name.split("/")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[key] = numbers if shape else numbers[0]
    return nested
