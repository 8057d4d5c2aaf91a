"""Online Knowledge Distillation via Collaborative Learning — Guo et al., CVPR 2020, section 3.2.

One teacher for all students, made of the logits of all of them, the student's own among them. Of
logits only log-posteriors travel: a constant in an example's logits changes none of these teachers.

Shapes: K students, B batch, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def naive(log_posterior_KBC: Tensor, labels_B: Tensor) -> Tensor:
    """KDCL-Naive: of each example the log-posterior of the student whose cross-entropy is least."""
    best_B = _of_labels(log_posterior_KBC, labels_B)[..., 0].argmax(dim=0)
    index_1BC = best_B[None, :, None].expand(1, *log_posterior_KBC.shape[1:])
    return log_posterior_KBC.gather(0, index_1BC)[0]


def min_logit(log_posterior_KBC: Tensor, labels_B: Tensor) -> Tensor:
    """KDCL-MinLogit: log softmax of min_k (z_k − z_k,y), taken class by class.

    The right class has a logit of 0, and every other one the least that a student gives it beside
    that: the teacher's cross-entropy is at most that of its best part.
    """
    beside_label_KBC = log_posterior_KBC - _of_labels(log_posterior_KBC, labels_B)
    return F.log_softmax(beside_label_KBC.amin(dim=0), dim=1)


def _of_labels(log_posterior_KBC: Tensor, labels_B: Tensor) -> Tensor:
    """Those of the right classes, [K, B, 1]."""
    index_KB1 = labels_B[None, :, None].expand(len(log_posterior_KBC), -1, 1)
    return torch.gather(log_posterior_KBC, 2, index_KB1)
