r"""How much the members of an ensemble disagree: the mean Kullback-Leibler divergence between them.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149), Figure 3.

Shapes: M members, N examples, C classes. Log-posteriors may be -inf.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.metrics.classification import confidence_bins, mean_posterior


@dataclass(frozen=True, kw_only=True)
class DiversityBin:
    """The examples of which the ensemble is about as sure."""

    lower: float
    upper: float
    """Confidences from ``lower`` to below ``upper``; the last bin has 1 as well."""
    count: int
    diversity: float
    """Mean over these examples, in nats; NaN if there is none."""


def pairwise_kl(log_posterior_MNC: Tensor) -> Tensor:
    r"""Mean divergence between two members on each example, in nats: float64 [N].

    .. math:: \frac{1}{M(M-1)} \sum_{i \neq j} \sum_c p^{(i)}_{nc}
              \left( \log p^{(i)}_{nc} - \log p^{(j)}_{nc} \right) \qquad (0 \log 0 = 0)

    Infinite where one member rules out a class that another does not. Takes no more memory than two
    members' posteriors, since all of a member's divergences need only the sum of log-posteriors.

    Args:
        log_posterior_MNC: logarithms of posteriors of two members or more.

    Raises:
        ValueError: if there are fewer members, or the shape is another.

    Example:
        >>> pairwise_kl(torch.tensor([[[0.5, 0.5]], [[0.8, 0.2]]]).log())
        tensor([0.2079], dtype=torch.float64)
    """
    if log_posterior_MNC.ndim != 3 or len(log_posterior_MNC) < 2:
        raise ValueError(
            f"expected log-posteriors [M, N, C] of at least 2 members, "
            f"got {list(log_posterior_MNC.shape)}"
        )
    members = len(log_posterior_MNC)
    sum_NC = log_posterior_MNC.sum(0, dtype=torch.float64)
    total_N = sum_NC.new_zeros(sum_NC.shape[:1])
    for log_posterior_NC in log_posterior_MNC:
        log_p_NC = log_posterior_NC.double()
        p_NC = log_p_NC.exp()
        total_N += torch.where(p_NC > 0, p_NC * (members * log_p_NC - sum_NC), 0).sum(1)
    return total_N / (members * (members - 1))


def diversity(log_posterior_MNC: Tensor) -> float:
    """Mean over the examples of the mean divergence between two members, ``pairwise_kl``, in nats.

    Args:
        log_posterior_MNC: logarithms of posteriors of two members or more.

    Raises:
        ValueError: if there are fewer members, no example, or the shape is another.
    """
    return float(_of_examples(log_posterior_MNC).mean())


def diversity_by_confidence(log_posterior_MNC: Tensor, bins: int = 15) -> list[DiversityBin]:
    """Diversity where the ensemble is about as sure, in equal-width bins of confidence.

    The confidence is that of the mean posterior: the probability of its most probable class. The
    mean over bins weighted by their counts is ``diversity``.

    Raises:
        ValueError: if there are fewer than two members, no example or no bin, or the shape is another.
    """
    kl_N = _of_examples(log_posterior_MNC)
    confidence_N = mean_posterior(list(log_posterior_MNC)).exp().amax(1)
    bin_N = confidence_bins(confidence_N, bins)
    count_bins = torch.bincount(bin_N, minlength=bins)
    # 0 / 0, in an empty bin, is the NaN that it should be.
    mean_bins = kl_N.new_zeros(bins).index_add_(0, bin_N, kl_N) / count_bins
    return [
        DiversityBin(lower=b / bins, upper=(b + 1) / bins, count=int(count), diversity=float(mean))
        for b, (count, mean) in enumerate(zip(count_bins, mean_bins, strict=True))
    ]


def _of_examples(log_posterior_MNC: Tensor) -> Tensor:
    kl_N = pairwise_kl(log_posterior_MNC)
    if not len(kl_N):
        raise ValueError("the diversity on no examples is undefined")
    return kl_N
