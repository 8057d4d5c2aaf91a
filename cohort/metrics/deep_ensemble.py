"""What a deep ensemble of 1, 2, … M members is worth, and how many of them a network is worth.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149), Table 2; the
deep-ensemble equivalent is of Ashukha et al., "Pitfalls of in-domain uncertainty estimation and
ensembling in deep learning", ICLR 2020.

Shapes: M members, N examples, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor

from cohort.metrics.calibration import calibrated
from cohort.metrics.classification import evaluate_posterior, mean_posterior


def deep_ensemble_rows(
    test_MNC: Tensor, test_labels: Tensor, validation: tuple[Tensor, Tensor] | None = None
) -> list[dict[str, float]]:
    """What the mean posterior of 1, 2, … M members is worth on test data.

    A row per size: ``members``, accuracy, nll, brier, ece and, with a temperature fitted on
    validation data if there are any, temperature, cnll, cbrier and cece. Each is the mean over the M
    ensembles of members j, j + 1, …, j + size - 1 (modulo M), so that every member counts alike in
    every row.

    Args:
        test_MNC: logarithms of posteriors on test data.
        test_labels: the right classes, [N].
        validation: those of the same members on validation data, and the right classes there.

    Raises:
        ValueError: if the members are not as many, there is none, or labels do not fit.
    """
    members = len(test_MNC)
    on_validation = members if validation is None else len(validation[0])
    if on_validation != members or not members:
        raise ValueError(
            f"expected log-posteriors of the same members, at least 1, on validation and test data; "
            f"got {on_validation} and {members}"
        )
    rows = []
    for size in range(1, members + 1):
        measured = [
            _measured(run, test_MNC, test_labels, validation) for run in cyclic_runs(members, size)
        ]
        means = {key: _mean([values[key] for values in measured]) for key in measured[0]}
        rows.append({"members": size, **means})
    return rows


def _measured(
    run: Sequence[int],
    test_MNC: Tensor,
    test_labels: Tensor,
    validation: tuple[Tensor, Tensor] | None,
) -> dict[str, float]:
    """Measurements of the mean posterior of some members, calibrated if there are validation data."""
    test_NC = mean_posterior([test_MNC[member] for member in run])
    measured = evaluate_posterior(test_NC, test_labels)
    if validation is None:
        return measured
    validation_NC = mean_posterior([validation[0][member] for member in run])
    return measured | calibrated(validation_NC, validation[1], test_NC, test_labels)


def cyclic_runs(members: int, size: int) -> list[tuple[int, ...]]:
    """The different ensembles of ``size`` members that follow each other, the first after the last.

    Example:
        >>> cyclic_runs(3, 2)
        [(0, 1), (1, 2), (2, 0)]
        >>> cyclic_runs(3, 3)
        [(0, 1, 2)]
    """
    starts = range(1 if size == members else members)
    return [tuple((start + n) % members for n in range(size)) for start in starts]


class Equivalent(NamedTuple):
    """How many members a deep ensemble would have that is worth as much as a network."""

    dee: float
    """In [1, M], of ensembles of up to M members."""
    dee_outside: int
    """0, or where the network lies beyond the ensembles: -1, worse than one member; 1, better than all."""


def deep_ensemble_equivalent(cnll: float, ensemble_cnll: Sequence[float]) -> Equivalent:
    """The size of a deep ensemble with this calibrated negative log-likelihood.

    Interpolated linearly between sizes; where more members once made the ensemble worse, the least
    size that reaches ``cnll``. Outside its ladder, ``dee`` is the end that the network lies beyond.

    Args:
        cnll: of the network; may be infinite.
        ensemble_cnll: of ensembles of 1, 2, … M members, finite.

    Raises:
        ValueError: if ``cnll`` is NaN, there is no ensemble, or one's cnll is not finite.

    Example:
        >>> ladder = [0.789, 0.708, 0.673, 0.655]
        >>> round(deep_ensemble_equivalent(0.682, ladder).dee, 2)
        2.74
        >>> deep_ensemble_equivalent(0.8, ladder), deep_ensemble_equivalent(0.6, ladder)
        (Equivalent(dee=1.0, dee_outside=-1), Equivalent(dee=4.0, dee_outside=1))
    """
    if math.isnan(cnll) or not ensemble_cnll or not all(map(math.isfinite, ensemble_cnll)):
        raise ValueError(
            f"cnll is {cnll} and ensemble_cnll {list(ensemble_cnll)}; the first must not be NaN, "
            "the second be finite numbers, at least 1"
        )
    if cnll >= ensemble_cnll[0]:
        return Equivalent(1.0, -1 if cnll > ensemble_cnll[0] else 0)
    for size, (worse, better) in enumerate(pairwise(ensemble_cnll), start=1):
        # Nothing before reached cnll, so ``worse`` is greater.
        if better <= cnll:
            return Equivalent(size + (worse - cnll) / (worse - better), 0)
    return Equivalent(float(len(ensemble_cnll)), 1)


def equivalent_of(cnll: float, lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """``dee`` and ``dee_outside`` of a network beside the teachers' lines of summary.json.

    Nothing where a temperature is not known, and so a cnll: there is no validation split, or no
    example of it is wrong.
    """
    curve = [line.get("test_cnll", math.nan) for line in lines]
    if math.isnan(cnll) or not curve or not all(map(math.isfinite, curve)):
        return {}
    return deep_ensemble_equivalent(cnll, curve)._asdict()


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
