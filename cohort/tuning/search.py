"""Where a study's points come from: a list, or Optuna. No ray; optuna only where it is used."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from cohort.errors import ConfigError
from cohort.tuning.axes import Axis, Choice, LogUniform, RandInt, Uniform
from cohort.tuning.space import Point, spanned
from cohort.tuning.study import OptunaSearch, Study


class PointSource(Protocol):
    """Hands out points one by one, and may learn from what came of them."""

    def ask(self) -> Point | None:
        """The next point; None if there are no more."""

    def tell(self, point: Point, value: float | None) -> None:
        """What a point gave: the metric's mean over seeds, None if a trial of it failed."""


class _Listed:
    def __init__(self, points: Iterable[Point]) -> None:
        self._points = iter(points)

    def ask(self) -> Point | None:
        return next(self._points, None)

    def tell(self, point: Point, value: float | None) -> None:
        """A list learns nothing."""


def listed(points: Iterable[Point]) -> PointSource:
    """A source of these points, in their order."""
    return _Listed(points)


def _forget(point: Point) -> None:
    """Note nothing."""


class OptunaPoints:
    """Points that Optuna's TPE suggests from what the earlier ones gave.

    Suggestion i is a function of the search's seed, of i, and of what was told before, so that a
    study that goes on does not draw again what it drew at its start.

    Args:
        study: its search is ``optuna``; its axes are choice, uniform, loguniform and randint.
        recorded: points suggested in earlier sessions, oldest first, with the metric's mean over
            seeds, or None: those are handed out again first.
        note: told of each new point before it is handed out, to put it on record.

    Raises:
        ConfigError: if optuna is not installed.
    """

    def __init__(
        self,
        study: Study,
        recorded: Sequence[tuple[Point, float | None]] = (),
        note: Callable[[Point], None] = _forget,
    ) -> None:
        assert isinstance(study.search, OptunaSearch), study.search.kind
        self._optuna = _optuna()
        self._space, self._search, self._note = study.space, study.search, note
        direction = "maximize" if study.mode == "max" else "minimize"
        self._study = self._optuna.create_study(direction=direction)
        self._distributions = {key: self._distribution(axis) for key, axis in study.space.items()}
        self._again = [point for point, value in recorded if not _usable(value)]
        self._suggested = len(recorded)
        self._open: dict[str, list[Any]] = defaultdict(list)
        for point, value in recorded:
            if _usable(value):
                self._add(point, value)

    def ask(self) -> Point | None:
        """A point of an earlier session without a value, else a new one; None after the last."""
        if self._again:
            return self._repeated(self._again.pop(0))
        if self._suggested >= self._search.samples:
            return None
        point = self._new()
        self._note(point)
        return point

    def tell(self, point: Point, value: float | None) -> None:
        """What a point gave; None or a value that is not finite counts as failed."""
        trial = self._open[_key(point)].pop(0)
        if _usable(value):
            self._study.tell(trial, value)
        else:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    def _repeated(self, point: Point) -> Point:
        self._study.enqueue_trial(self._params(point))
        self._open[_key(point)].append(self._study.ask(self._distributions))
        return point

    def _new(self) -> Point:
        # A sampler of its own for each suggestion: one for all would begin anew on --resume.
        entropy = np.random.SeedSequence([self._search.seed, self._suggested])
        seed = int(entropy.generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        trial = self._study.ask(self._distributions)
        self._suggested += 1
        (point,) = spanned(self._space, [self._values(trial.params)])
        self._open[_key(point)].append(trial)
        return point

    def _add(self, point: Point, value: float | None) -> None:
        trial = self._optuna.trial.create_trial(
            params=self._params(point), distributions=self._distributions, value=value
        )
        self._study.add_trial(trial)

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        match axis:
            case Choice(values):
                # By place: Optuna knows no lists as choices.
                return kinds.CategoricalDistribution(range(len(values)))
            case RandInt(low, high):
                return kinds.IntDistribution(low, high - 1)
            case Uniform(low, high) | LogUniform(low, high):
                return kinds.FloatDistribution(low, high, log=isinstance(axis, LogUniform))
            case _:
                raise AssertionError(f"{type(axis).__name__} axes are refused when a study is read")

    def _params(self, point: Point) -> dict[str, Any]:
        """A point as Optuna's parameters."""
        return {
            key: axis.values.index(point.values[key])
            if isinstance(axis, Choice)
            else point.values[key]
            for key, axis in self._space.items()
        }

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Optuna's parameters as values of the axes."""
        return {
            key: axis.values[params[key]] if isinstance(axis, Choice) else params[key]
            for key, axis in self._space.items()
        }


def _optuna() -> Any:
    """The package, imported here because it is an extra."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("search: optuna needs the extra: pip install 'cohort[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports each trial otherwise
    return optuna


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _key(point: Point) -> str:
    return json.dumps(point.values, sort_keys=True)
