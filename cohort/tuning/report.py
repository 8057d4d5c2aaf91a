"""What a study's table and figure show. Imports neither torch nor ray."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cohort.errors import ConfigError
from cohort.tuning.limits import at_least, not_empty


@dataclass(frozen=True, kw_only=True)
class LinesFigure:
    """Metrics over a label, a line for each value of another."""

    kind: Literal["lines"] = "lines"
    x: str
    series: str | None = None
    y: tuple[str, ...]

    def __post_init__(self) -> None:
        not_empty(self, "y")


@dataclass(frozen=True, kw_only=True)
class BarsFigure:
    """Metrics of every point."""

    kind: Literal["bars"] = "bars"
    y: tuple[str, ...]

    def __post_init__(self) -> None:
        not_empty(self, "y")


@dataclass(frozen=True, kw_only=True)
class HeatmapFigure:
    """One metric over two labels, a panel for each value of a third."""

    kind: Literal["heatmap"] = "heatmap"
    x: str
    y: str
    panels: str | None = None
    value: str


@dataclass(frozen=True, kw_only=True)
class NoiseFigure:
    """What noise on the weights costs."""

    kind: Literal["noise"] = "noise"
    sigmas: tuple[float, ...]
    draws: int = 5
    relative: bool = True
    """Whether a sigma is in units of each weight tensor's own size."""
    examples: int = 1000
    """Images of the training split that it is measured on, at most."""

    def __post_init__(self) -> None:
        not_empty(self, "sigmas")
        if not all(0 <= sigma < math.inf for sigma in self.sigmas):
            raise ConfigError(f"sigmas is {list(self.sigmas)}; they must be 0 or greater")
        at_least(self, 1, "draws")
        at_least(self, 2, "examples")


Figure = LinesFigure | BarsFigure | HeatmapFigure | NoiseFigure


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the study's table and figure show."""

    baseline: Mapping[str, Any] | None = None
    """Labels that replace a point's own to find its baseline."""
    metrics: tuple[str, ...]
    figure: Figure | None = None

    def __post_init__(self) -> None:
        not_empty(self, "metrics")
