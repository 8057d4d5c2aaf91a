"""Every exit against the labels, and ensembles of exits.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094): Tables 1 and 2 give the ensemble of all exits,
Table 5 that of the deepest three.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cohort.analysis.cost import ExitCost
from cohort.errors import ConfigError
from cohort.metrics.classification import evaluate_posterior, mean_posterior

DEEPEST = 3


@dataclass(frozen=True, kw_only=True)
class ExitsReport:
    """How good exits and their ensembles are: accuracy, nll, brier, ece by ``evaluate_posterior``."""

    exits: tuple[dict[str, float], ...]
    """One per exit, shallowest first."""
    ensemble: dict[str, float]
    """The mean posterior of all exits."""
    deepest: dict[str, float]
    """The mean posterior of the deepest three, or of all if there are fewer."""
    weights: tuple[float, ...] | None = None
    weighted: dict[str, float] | None = None
    """The mean posterior with these weights, if any were given."""


def report_exits(
    posteriors: Sequence[Tensor], labels_N: Tensor, weights: Sequence[float] | None = None
) -> ExitsReport:
    """Accuracy, NLL, Brier and ECE of every exit and of ensembles of exits.

    Args:
        posteriors: the exits' log-posteriors, [N, C] each, shallowest first.
        labels_N: the right classes.
        weights: one per exit, for an ensemble of one's own; only their proportions matter.

    Raises:
        ConfigError: if the weights are not one per exit, 0 or greater, not all 0.
    """
    if weights is not None:
        check_weights(weights, len(posteriors))
    weighted = None if weights is None else mean_posterior(posteriors, weights)
    return ExitsReport(
        exits=tuple(evaluate_posterior(posterior, labels_N) for posterior in posteriors),
        ensemble=evaluate_posterior(mean_posterior(posteriors), labels_N),
        deepest=evaluate_posterior(mean_posterior(posteriors[-DEEPEST:]), labels_N),
        weights=None if weights is None else tuple(weights),
        weighted=None if weighted is None else evaluate_posterior(weighted, labels_N),
    )


def exit_lines(
    measured: Sequence[Mapping[str, float]], costs: Sequence[ExitCost], places: Sequence[str]
) -> list[dict[str, Any]]:
    """Cost and measurements of each exit, as in summary.json."""
    return [
        {
            "exit": cost.exit,
            "place": place,
            "parameters": cost.parameters,
            "multiply_adds": cost.multiply_adds,
            **{f"test_{name}": value for name, value in of_exit.items()},
        }
        for cost, place, of_exit in zip(costs, (*places, None), measured, strict=True)
    ]


def check_weights(weights: Sequence[float], exits: int) -> None:
    """Raise ConfigError unless there is one weight per exit, finite, none negative, not all 0."""
    fine = all(math.isfinite(weight) and weight >= 0 for weight in weights) and any(weights)
    if len(weights) != exits or not fine:
        raise ConfigError(
            f"--ensemble-weights is {','.join(f'{weight:g}' for weight in weights)}; it must be "
            f"{exits} numbers, one per exit, shallowest first, each 0 or greater and not all 0"
        )
