"""How alike the answers of networks are: the share of examples on which two agree, and their divergence.

Shapes: K networks, N examples, C classes. Log-posteriors may be -inf.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from cohort.metrics.diversity import pairwise_kl

PART = 4096
"""Examples whose posteriors are stacked at a time, for those of all would take the memory twice."""


def agreement(answers: Sequence[Tensor]) -> float:
    r"""Share of examples on which two networks have the same most probable class, the mean over pairs.

    .. math:: \frac{2}{K(K-1)} \sum_{i<j} \frac{1}{N} \sum_n
              [\arg\max_c p^{(i)}_{nc} = \arg\max_c p^{(j)}_{nc}]

    Args:
        answers: of K networks, [N, C] each: posteriors, or anything that orders classes as they do.

    Raises:
        ValueError: if there are fewer than two networks, or no example.

    Example:
        >>> sure, other = torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([[0.6, 0.4], [0.3, 0.7]])
        >>> agreement([sure, other])
        0.5
    """
    _check(answers)
    class_KN = [answer_NC.argmax(1) for answer_NC in answers]
    shares = [float((a_N == b_N).double().mean()) for a_N, b_N in combinations(class_KN, 2)]
    return sum(shares) / len(shares)


def mean_pairwise_kl(log_posteriors: Sequence[Tensor]) -> float:
    """``diversity`` of networks whose log-posteriors [N, C] lie apart: mean KL of two of them, in nats.

    Raises:
        ValueError: if there are fewer than two networks, or no example.

    Example:
        >>> even = torch.tensor([[0.5, 0.5]]).log()
        >>> mean_pairwise_kl([even, even])
        0.0
    """
    _check(log_posteriors)
    parts = zip(*(torch.split(each_NC, PART) for each_NC in log_posteriors), strict=True)
    return float(torch.cat([pairwise_kl(torch.stack(part)) for part in parts]).mean())


def _check(answers: Sequence[Tensor]) -> None:
    if len(answers) < 2 or not len(answers[0]):
        raise ValueError("how alike networks are takes two of them, and an example")
