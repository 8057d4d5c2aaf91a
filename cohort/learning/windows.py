"""A learner's measurements, averaged over windows of steps, each a line of metrics.jsonl.

What a step measures stays on the device, and so does whether its numbers were finite.
"""

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
        self._fine: list[torch.Tensor] = []
        self._ready: list[Means] = []
        self._shapes: dict[str, torch.Size] = {}
        self._last = -1

    def add(self, step: int, measurements: Measurements, fine: Sequence[torch.Tensor] = ()) -> None:
        """Take in the measurements of one step, and whether both its halves were ``fine``."""
        if fine:
            self._fine.append(torch.stack(list(fine)))
        self._window.append(torch.cat([m.float().flatten() for m in measurements.values()]))
        self._shapes = {name: m.shape for name, m in measurements.items()}
        self._last = step

    @property
    def window_is_full(self) -> bool:
        """Whether the newest step is the last one of its window."""
        return (self._last + 1) % self.every == 0

    def close_window(self) -> int | None:
        """End the window here, full or not; what ``first_bad`` says. A bad window is not handed over."""
        if not self._window:
            return None
        means = self._average(torch.stack(self._window).mean(dim=0))
        steps = len(self._fine)
        fine = [half.to(means.dtype).flatten() for half in self._fine]
        read = torch.cat([*fine, means]).tolist()  # once, for a GPU is waited for
        bad = self._order_of(read[: 2 * steps])
        if bad is None:
            self._ready.append({"step": self._last + 1, **_nested(read[2 * steps :], self._shapes)})
        self._window, self._fine = [], []
        return bad

    def first_bad(self) -> int | None:
        """Twice the step of the open window's first numbers that were not finite, plus its half.

        0 for the posterior, 1 for what came of it; None if all were.
        """
        return self._order_of(torch.cat(self._fine).tolist()) if self._fine else None

    def drain(self) -> list[Means]:
        """The means of the windows that closed since the last call, oldest first."""
        ready, self._ready = self._ready, []
        return ready

    def clear(self) -> None:
        """Forget everything, as when a student goes back to a checkpoint."""
        self._window, self._fine, self._ready = [], [], []

    def _order_of(self, fine: Sequence[float]) -> int | None:
        bad = next((i for i, half in enumerate(fine) if not half), None)
        return None if bad is None else 2 * (self._last + 1) - len(fine) + bad


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
