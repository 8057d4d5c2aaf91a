"""Accuracy against cost when each example leaves at the first exit that is sure of its answer.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), section 3.3: scalable inference by thresholds.

Shapes: N examples, E exits, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.analysis.cost import cost_together, exit_costs
from cohort.data.dataset import Split
from cohort.learning.evaluation import log_posteriors_over
from cohort.models.early_exit import MultiExitStudent


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Accuracy and cost at one threshold."""

    threshold: float
    accuracy: float
    mean_multiply_adds: float
    """Per example, with the branches and classifiers of all exits that it went past."""
    share_per_exit: tuple[float, ...]
    """The fraction of examples that left at each exit, shallowest first."""


def early_exit_curve(
    student: MultiExitStudent, split: Split, thresholds: Sequence[float], device: torch.device
) -> list[CurvePoint]:
    """A point for every threshold of confidence, from one pass that computes all exits.

    The answers are those of ``until_confident``. The cost is counted as it is paid there: an example
    that goes past exit i has been through branch and classifier i in vain, so an answer from the
    deepest exit costs more than the deepest exit alone (``exit_costs``).
    """
    _, channels, height, width = split.images.shape
    costs = exit_costs(student, (channels, height, width))
    exits = range(1, len(costs) + 1)
    paid_E = torch.tensor(
        [cost_together(costs, range(1, exit + 1))[1] for exit in exits], dtype=torch.float64
    )
    posterior_ENC = torch.stack(log_posteriors_over(student, split, device)).exp()
    right_EN = posterior_ENC.argmax(2) == torch.from_numpy(split.labels)
    points = []
    for threshold in thresholds:
        exit_N = first_confident(posterior_ENC, threshold)
        share_E = torch.bincount(exit_N, minlength=len(costs)).double() / len(split)
        points.append(
            CurvePoint(
                threshold=threshold,
                accuracy=float(right_EN.gather(0, exit_N[None]).double().mean()),
                mean_multiply_adds=float(share_E @ paid_E),
                share_per_exit=tuple(share_E.tolist()),
            )
        )
    return points


def first_confident(posterior_ENC: Tensor, threshold: float) -> Tensor:
    """Index (from 0) of the first exit whose top probability is at least the threshold, int64 [N].

    The deepest exit answers whatever the others left.
    """
    sure_EN = posterior_ENC.amax(2) >= threshold
    sure_EN[-1] = True
    return sure_EN.int().argmax(0)  # the first of equal maxima
