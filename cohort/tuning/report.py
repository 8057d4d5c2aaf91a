"""What a study's table and figure show. Imports neither torch nor ray."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

Metrics = Annotated[tuple[str, ...], Field(min_length=1)]
Sigma = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class LinesFigure:
    """Metrics over a label, a line for each value of another."""

    kind: Literal["lines"] = "lines"
    x: str
    series: str | None = None
    y: Metrics


@dataclass(frozen=True, kw_only=True)
class BarsFigure:
    """Metrics of every point."""

    kind: Literal["bars"] = "bars"
    y: Metrics


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
    sigmas: Annotated[tuple[Sigma, ...], Field(min_length=1)]
    draws: Annotated[int, Field(ge=1)] = 5
    relative: bool = True
    """Whether a sigma is in units of each weight tensor's own size."""
    examples: Annotated[int, Field(ge=2)] = 1000
    """Images of the training split that it is measured on, at most."""


Figure = Annotated[
    LinesFigure | BarsFigure | HeatmapFigure | NoiseFigure, Field(discriminator="kind")
]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the study's table and figure show."""

    baseline: Mapping[str, Any] | None = None
    """Labels that replace a point's own to find its baseline."""
    metrics: Metrics
    figure: Figure | None = None
