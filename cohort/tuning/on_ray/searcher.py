"""The trials of a study, handed to Ray Tune one by one.

How Tune 2.60 uses a Searcher, which it wraps in a ``SearchGenerator``:

- ``num_samples=-1`` becomes ``sys.maxsize``; the search is over once ``suggest`` has returned
  ``FINISHED``, and never asked again. So a study of N trials takes -1 and ends by FINISHED; the
  experiment ends when all its trials have ended too.
- ``suggest`` returning None is asked again at the next step. Only if nothing runs does Tune poll
  it once a second, so waiting for trials that run costs nothing.
- One trial is kept pending beside those that run (``max_concurrent`` if that is given to Tune as
  ``max_concurrent_trials``, which wraps the searcher in a ``ConcurrencyLimiter``). It is suggested,
  and given to the scheduler by ``on_trial_add``, before it can start.
- The suggestion is merged over ``param_space`` as the trial's ``config``. Tune also makes a tag and
  a folder name of all its values: name trials by ``trial_name_creator``/``trial_dirname_creator``.
- ``on_trial_complete`` gets the flattened last result of a trial that ended or was stopped, nothing
  but ``error=True`` of one that failed for good, and nothing at all of one that was stopped while
  it was pending or paused. It is called before callbacks hear of it, and not at all for trials that
  run when an experiment is interrupted.
- A result without the searcher's, the scheduler's or TuneConfig's metric is an error, which
  ``TUNE_DISABLE_STRICT_METRIC_CHECKING=1`` turns off. This searcher names no metric to Tune.
- The searcher is saved with the experiment's state every few seconds. A study goes on from its run
  folders instead, so that nothing is written here.
"""

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.search import Searcher

from cohort.tuning.search import PointSource
from cohort.tuning.space import Point
from cohort.tuning.study import Study
from cohort.tuning.trials import TrialSpec, trials_of


@dataclass(frozen=True)
class _Open:
    """A point of which not all trials have ended."""

    point: Point
    names: tuple[str, ...]


class Unsaved:
    """Pickles as nothing: a study goes on from its run folders, not from Tune's notes.

    Tune pickles searchers and callbacks when it starts, and ours hold a terminal and open files.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class TrialSearcher(Unsaved, Searcher):
    """Turns points into trials, one per seed, and trials' values into those of points.

    A trial counts with the metric of its last result, also if a scheduler stopped it; it has no
    value if it failed. At most ``max_concurrent`` trials are handed out and not ended, so that no
    source is asked further ahead than that.

    Args:
        source: where points come from.
        study: what is made of them.
        ended: the values of trials that have ended already, by name; None of one without.
        stopping: whether the study is being interrupted: no more trials are handed out then.
    """

    def __init__(
        self,
        source: PointSource,
        study: Study,
        ended: Mapping[str, float | None],
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._source = source
        self._study = study
        self._stopping = stopping
        self._values = dict(ended)
        self._open: list[_Open] = []
        self._waiting: deque[TrialSpec] = deque()
        self._running: dict[str, str] = {}
        self._handed: set[str] = set()

    def suggest(  # type: ignore[override]  # Tune's own signature leaves FINISHED out
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """The config of the next trial; None while as many run as may; FINISHED after the last."""
        if self._stopping():
            return Searcher.FINISHED
        limit = self._study.max_concurrent
        if limit is not None and len(self._running) >= limit:
            return None
        while not self._waiting:
            point = self._source.ask()
            if point is None:
                return Searcher.FINISHED
            self._expand(point)
        spec = self._waiting.popleft()
        self._running[trial_id] = spec.name
        return {"trial": spec.to_dict()}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take note of a trial's value, and tell the source those of points that are complete."""
        name = self._running.pop(trial_id, None)
        if name is None:  # Tune says it again if a callback fails, and that failure must be seen
            return
        failed = error or result is None or result.get("ended") == "failed"
        self._values[name] = None if failed or result is None else result.get(self._study.metric)
        self._tell()

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: a study goes on from its run folders."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def _expand(self, point: Point) -> None:
        specs = trials_of(self._study, point)
        self._open.append(_Open(point, tuple(spec.name for spec in specs)))
        # A search may suggest a point twice: its trials are trained once.
        new = [s for s in specs if s.name not in self._values and s.name not in self._handed]
        self._handed.update(spec.name for spec in new)
        self._waiting.extend(new)
        self._tell()

    def _tell(self) -> None:
        complete = [each for each in self._open if self._values.keys() >= set(each.names)]
        for each in complete:
            self._open.remove(each)
            self._source.tell(each.point, mean_value([self._values[name] for name in each.names]))


def mean_value(values: list[float | None]) -> float | None:
    """The mean of a point's values; None if one is missing or not finite."""
    usable = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(usable) if len(usable) == len(values) else None
