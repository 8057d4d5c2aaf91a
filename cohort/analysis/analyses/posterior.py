"""How sure students are of training images: Figure 3c of mutual learning.

"Deep Mutual Learning" (CVPR 2018, arXiv 1706.00384): the mean posterior of the five most probable
classes, which falls off more slowly where peers teach, and the mean entropy of the posterior.

Shapes: N examples, C classes, R ranks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from cohort.analysis.drawing import axes_grid, banded, colour_of, numbered, whiskers
from cohort.analysis.findings import Findings, captioned, sample
from cohort.analysis.groups import Row, Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import curves, pooled
from cohort.learning.evaluation import log_posterior_over
from cohort.metrics.classification import entropy

TITLE = "Posterior on training images"
RANKS = 5
BAR, FEWEST = 0.6, 2
"""Height of a bar, and for how many there is room at least."""


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """Of every student, at T = 1 and in evaluation mode, on training images that are not augmented."""
    rows = []
    for subject in subjects:
        split = sample(subject.run.dataset.train, options.examples)
        for head, student in subject.students():
            log_posterior_NC = log_posterior_over(student, split, device)
            undecided = float(entropy(log_posterior_NC).double().mean())
            ranked_R = mean_ranked_posterior(log_posterior_NC).tolist()
            rows += [
                head | {"rank": rank, "mean_posterior": p, "mean_entropy": undecided}
                for rank, p in enumerate(ranked_R, start=1)
            ]
    shows = (
        "Left, the mean posterior of the most probable classes of training images, by their rank; "
        "right, the mean entropy of the posterior on them."
    )
    return Findings({"posterior": captioned(posterior_figure(rows), shows, rows)}, rows)


def mean_ranked_posterior(log_posterior_NC: Tensor, ranks: int = RANKS) -> Tensor:
    """Mean over examples of the greatest, second greatest, … probability, float64 [R].

    R is ``ranks``, or C if there are fewer classes.

    Example:
        >>> posterior = torch.tensor([[0.75, 0.25], [0.0, 1.0]])
        >>> mean_ranked_posterior(posterior.log()).tolist()
        [0.875, 0.125]
    """
    posterior_NC = log_posterior_NC.double().exp()
    return posterior_NC.topk(min(ranks, posterior_NC.shape[1]), dim=1).values.mean(0)


def posterior_figure(rows: Sequence[Row]) -> Figure:
    """Left the mean posterior by rank, right a bar with the mean entropy, which names the lines."""
    lines = curves(rows, "mean_posterior", "group", "rank")
    numbers = numbered(group for (group,) in lines)
    height = 2.6 + 0.4 * len(numbers)
    figure, (left, right) = axes_grid(1, 2, width=9, height=height)
    for (group,), points in lines.items():
        banded(left, points, group, numbers[group])
    left.set(xlabel="rank of the class", ylabel="mean posterior", ylim=(0, None))
    left.set_xticks(sorted({rank for points in lines.values() for rank in points}))
    names, once = [], [row for row in rows if row["rank"] == 1]
    for (group,), (mean, low, high) in pooled(once, "mean_entropy", "group").items():
        names.append(f"{group}\n{mean:.3f} nat")
        reach = whiskers(np.array([mean]), np.array([low]), np.array([high]))
        colour = colour_of(numbers[group])
        right.barh(numbers[group], mean, BAR, xerr=reach, color=colour, alpha=0.7, capsize=3)
    right.set_yticks(range(len(names)), names)
    right.set_ylim(max(len(names), FEWEST) - 0.5, -0.5)
    right.set_xlabel("mean entropy of the posterior / nat")
    return figure
