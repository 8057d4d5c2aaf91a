"""How often a posterior is right where it is so sure: the bins of a reliability diagram.

Guo et al., "On calibration of modern neural networks", ICML 2017, Figure 1.

Shapes: N examples, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.metrics.classification import check_labels, confidence_bins

BINS = 15


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The examples whose most probable class is about as probable."""

    lower: float
    upper: float
    """Confidences from ``lower`` to below ``upper``; the last bin has 1 as well."""
    count: int
    confidence: float
    """Mean over these examples; NaN if there is none, and so is ``accuracy``."""
    accuracy: float


def reliability(
    log_posterior_NC: Tensor, labels_N: Tensor, bins: int = BINS
) -> list[ReliabilityBin]:
    r"""Accuracy and mean confidence in equal-width bins of the confidence, those of the ECE.

    The mean over the bins of \|accuracy - confidence\|, weighted by their counts, is
    ``expected_calibration_error``.

    Args:
        log_posterior_NC: logarithms of posteriors.
        labels_N: the right classes.
        bins: number of bins.

    Raises:
        ValueError: if there is no example, not one label for each, or no bin.

    Example:
        >>> (low, high) = reliability(torch.tensor([[0.75, 0.25]]).log(), torch.tensor([0]), bins=2)
        >>> low.count, high.count, high.confidence, high.accuracy
        (0, 1, 0.75, 1.0)
    """
    check_labels(log_posterior_NC, labels_N)
    confidence_N, class_N = log_posterior_NC.exp().float().max(1)
    bin_N = confidence_bins(confidence_N, bins)
    count_b = torch.bincount(bin_N, minlength=bins)
    # 0 / 0, in an empty bin, is the NaN that it should be.
    confidence_b, accuracy_b = (
        torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_N, each_N.double()) / count_b
        for each_N in (confidence_N, class_N == labels_N)
    )
    return [
        ReliabilityBin(
            lower=b / bins,
            upper=(b + 1) / bins,
            count=int(count_b[b]),
            confidence=float(confidence_b[b]),
            accuracy=float(accuracy_b[b]),
        )
        for b in range(bins)
    ]
