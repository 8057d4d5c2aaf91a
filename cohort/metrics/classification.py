"""How good and how calibrated a posterior is: pure functions of posteriors and labels.

Shapes: N examples, C classes, M members. Posteriors are float32 rows that sum to 1; their logs may
be -inf. Labels are int64 in [0, C).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def accuracy(posterior_NC: Tensor, labels_N: Tensor) -> float:
    r"""Fraction of examples whose most probable class is the right one.

    .. math:: \frac{1}{N} \sum_n [\arg\max_c p_{nc} = y_n]

    Args:
        posterior_NC: posteriors, or anything that orders the classes as they do, such as logits.
        labels_N: the right classes.

    Raises:
        ValueError: if there is no example, or not one label for each.

    Example:
        >>> accuracy(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 1]))
        0.5
    """
    check_labels(posterior_NC, labels_N)
    return float((posterior_NC.argmax(1) == labels_N).double().mean())


def negative_log_likelihood(log_posterior_NC: Tensor, labels_N: Tensor) -> float:
    r"""Mean negative log probability of the right class, in nats; infinite if one was ruled out.

    .. math:: -\frac{1}{N} \sum_n \log p_{n y_n}

    Args:
        log_posterior_NC: logarithms of posteriors.
        labels_N: the right classes.

    Raises:
        ValueError: if there is no example, or not one label for each.

    Example:
        >>> posterior = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
        >>> round(negative_log_likelihood(posterior.log(), torch.tensor([0, 0])), 4)
        0.3466
    """
    check_labels(log_posterior_NC, labels_N)
    of_label_N = log_posterior_NC.gather(1, labels_N[:, None])
    # 0 - x rather than -x: a perfect posterior would print as -0.0.
    return float(0 - of_label_N.double().mean())


def brier(posterior_NC: Tensor, labels_N: Tensor) -> float:
    r"""Brier score: squared distance to the one-hot label, in [0, 2].

    .. math:: \frac{1}{N} \sum_n \sum_c (p_{nc} - [c = y_n])^2

    Summed over classes as Brier defined it; dividing by C as well would make scores of data sets
    with many classes vanish.

    Args:
        posterior_NC: posteriors.
        labels_N: the right classes.

    Raises:
        ValueError: if there is no example, or not one label for each.

    Example:
        >>> brier(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0, 1]))
        1.25

    Reference:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
        Review 78, 1950.
    """
    check_labels(posterior_NC, labels_N)
    # Subtracts in place where the label is, since one_hot would take N x C int64.
    residual_NC = posterior_NC.clone()
    residual_NC[torch.arange(len(labels_N), device=labels_N.device), labels_N] -= 1
    return float(residual_NC.square().sum(1).double().mean())


def expected_calibration_error(posterior_NC: Tensor, labels_N: Tensor, bins: int = 15) -> float:
    r"""Expected calibration error of the top class, in [0, 1].

    .. math:: \sum_b \frac{|B_b|}{N} \left| \mathrm{acc}(B_b) - \mathrm{conf}(B_b) \right|

    over equal-width bins of the confidence :math:`\max_c p_{nc}`. Each bin has its lower edge and
    the last has both, so a confidence of 1.0 shares the bin of 0.99.

    Args:
        posterior_NC: posteriors; confidences are compared in float32.
        labels_N: the right classes.
        bins: number of bins.

    Raises:
        ValueError: if there is no example, not one label for each, or no bin.

    Example:
        >>> round(expected_calibration_error(torch.tensor([[0.75, 0.25]]), torch.tensor([0])), 4)
        0.25

    Reference:
        Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
        binning", AAAI 2015; Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    check_labels(posterior_NC, labels_N)
    confidence_N, class_N = posterior_NC.float().max(1)
    bin_N = confidence_bins(confidence_N, bins)
    # |B| (acc - conf) is the sum of (correct - confidence) over B.
    gap_N = (class_N == labels_N).double() - confidence_N.double()
    gap_bins = gap_N.new_zeros(bins).index_add_(0, bin_N, gap_N)
    return float(gap_bins.abs().sum() / len(labels_N))


def confidence_bins(confidence_N: Tensor, bins: int) -> Tensor:
    """Number of the equal-width bin of [0, 1] that each confidence is in, int64 [N].

    Each bin has its lower edge and the last has both. Compared in float32, in which an edge is the
    number nearest to k / bins: what was written 0.2 is in the bin that begins at 3 / 15.

    Raises:
        ValueError: if there is no bin.

    Example:
        >>> confidence_bins(torch.tensor([0.2, 0.5, 1.0]), bins=2)
        tensor([0, 1, 1])
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; it must be at least 1")
    # Only the inner edges: what lies at 1.0, or a rounding error above, is in the last bin.
    # Not linspace, which adds up steps and misses 3 / 15.
    edges = torch.arange(1, bins, device=confidence_N.device).double() / bins
    return torch.bucketize(confidence_N.float(), edges.float(), right=True)


def entropy(log_posterior_NC: Tensor) -> Tensor:
    r"""Entropy of each posterior in nats, [N]: how undecided it is, from 0 to log C.

    .. math:: -\sum_c p_{nc} \log p_{nc} \qquad (0 \log 0 = 0)

    Args:
        log_posterior_NC: logarithms of posteriors; -inf where the probability is 0.

    Example:
        >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log())
        tensor([0.6931, 0.0000])
    """
    entropy_N: Tensor = torch.special.entr(log_posterior_NC.exp()).sum(-1)
    return entropy_N


def mean_posterior(
    log_posteriors: Sequence[Tensor], weights: Sequence[float] | None = None
) -> Tensor:
    r"""Logarithm of the members' mean posterior, [N, C]: what a deep ensemble predicts.

    .. math:: \log \frac{1}{\sum_m w_m} \sum_m w_m p^{(m)}_{nc}

    Computed by logsumexp, so that probabilities too small for float32 still count.

    Args:
        log_posteriors: M logarithms of posteriors, [N, C] each.
        weights: M finite numbers of 0 or greater, not all 0; by default all members count alike.

    Raises:
        ValueError: if there is no member, or the weights are not as said.

    Example:
        >>> sure, unsure = torch.tensor([[1.0, 0.0]]).log(), torch.tensor([[0.5, 0.5]]).log()
        >>> mean_posterior([sure, unsure]).exp()
        tensor([[0.7500, 0.2500]])
        >>> mean_posterior([sure, unsure], weights=[1, 3]).exp()
        tensor([[0.6250, 0.3750]])
    """
    if not log_posteriors:
        raise ValueError("the mean posterior of no members is undefined")
    log_posterior_MNC = torch.stack(list(log_posteriors))
    if weights is not None:
        log_weight_M = _log_proportions(weights, members=len(log_posteriors))
        return (log_posterior_MNC + log_weight_M.to(log_posterior_MNC)[:, None, None]).logsumexp(0)
    return log_posterior_MNC.logsumexp(0) - math.log(len(log_posteriors))


def _log_proportions(weights: Sequence[float], members: int) -> Tensor:
    """Logarithm of each weight divided by their sum, [M] in float64; -inf for a weight of 0."""
    weight_M = torch.tensor(weights, dtype=torch.float64)
    valid = (weight_M >= 0).all() and weight_M.isfinite().all() and weight_M.any()
    if weight_M.shape != (members,) or not valid:
        raise ValueError(
            f"weights are {list(weights)}; they must be {members} finite numbers of 0 or greater, "
            "not all 0"
        )
    log_weight_M = weight_M.log()
    return log_weight_M - log_weight_M.logsumexp(0)


def evaluate_posterior(log_posterior_NC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """How good and how calibrated posteriors are: accuracy, nll, brier and ece.

    Args:
        log_posterior_NC: logarithms of posteriors.
        labels_N: the right classes.

    Raises:
        ValueError: if there is no example, or not one label for each.

    Example:
        >>> evaluate_posterior(torch.tensor([[1.0, 0.0]]).log(), torch.tensor([0]))
        {'accuracy': 1.0, 'nll': 0.0, 'brier': 0.0, 'ece': 0.0}
    """
    posterior_NC = log_posterior_NC.exp()
    return {
        "accuracy": accuracy(posterior_NC, labels_N),
        "nll": negative_log_likelihood(log_posterior_NC, labels_N),
        "brier": brier(posterior_NC, labels_N),
        "ece": expected_calibration_error(posterior_NC, labels_N),
    }


def check_labels(posterior_NC: Tensor, labels_N: Tensor) -> None:
    """Raise ValueError unless there is an example, and a label for each.

    gather and indexing accept fewer labels than rows and would score only those.
    """
    if posterior_NC.ndim != 2 or labels_N.shape != posterior_NC.shape[:1] or not len(labels_N):
        raise ValueError(
            f"expected posteriors [N, C] and labels [N] with N at least 1, "
            f"got {list(posterior_NC.shape)} and {list(labels_N.shape)}"
        )
