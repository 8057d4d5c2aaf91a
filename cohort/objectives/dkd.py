"""Decoupled Knowledge Distillation — Zhao, Cui, Song, Qiu, Liang, CVPR 2022 (arXiv 2203.08679).

Shapes: B batch, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cohort.objectives.mutual import kl_divergence


@dataclass(frozen=True)
class Decoupled:
    """TCKD + β·NCKD (equation 7, with the α of TCKD in the weight of the whole).

    With y the right class and t, p the teacher's and the student's posteriors,

        TCKD = KL((t_y, 1 − t_y) ‖ (p_y, 1 − p_y))      how hard the example is
        NCKD = KL(t' ‖ p'), t'_c = t_c / (1 − t_y)      how alike the other classes are to it

    The divergence of whole posteriors is TCKD + (1 − t_y)·NCKD (equation 6): where a teacher is sure,
    it says nothing of the other classes. The authors take α 1, β 8, T 4 for CIFAR-100, and raise the
    weight of the whole over 20 epochs; here it is constant.
    """

    beta: float = 8.0

    def __call__(self, target_BC: Tensor, own_BC: Tensor, labels_B: Tensor) -> Tensor:
        """The scalar of two log-posteriors, mean over the batch."""
        rest = other_classes(target_BC, labels_B), other_classes(own_BC, labels_B)
        tckd = kl_divergence(
            _right_or_not(target_BC, rest[0], labels_B), _right_or_not(own_BC, rest[1], labels_B)
        )
        nckd = kl_divergence(F.log_softmax(rest[0], dim=1), F.log_softmax(rest[1], dim=1))
        return tckd + self.beta * nckd


def other_classes(values_BC: Tensor, labels_B: Tensor) -> Tensor:
    """The values of all classes but the right one, in order: [B, C−1]."""
    rest = torch.arange(values_BC.shape[1] - 1, device=values_BC.device)
    return values_BC.gather(1, rest + (rest >= labels_B[:, None]))


def _right_or_not(log_posterior_BC: Tensor, rest: Tensor, labels_B: Tensor) -> Tensor:
    """Logarithms of the right class's probability and of all others' together, [B, 2]."""
    right_B1 = log_posterior_BC.gather(1, labels_B[:, None])
    return torch.cat([right_B1, rest.logsumexp(dim=1, keepdim=True)], dim=1)
