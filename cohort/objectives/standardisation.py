"""Logit Standardization in Knowledge Distillation — Sun et al., CVPR 2024 (arXiv 2403.01993).

Shapes: B batch, C classes.
"""

import torch
from torch import Tensor

TINY = 1e-14
"""Added to a variance, so that equal logits are 0 and not NaN."""


def standardised(logits_BC: Tensor) -> Tensor:
    """Z(z) = (z − mean_c z) / σ_c(z) of each example, float32 [B, C] (Algorithm 1, which divides by τ next).

    So a student has to find the order and relative size of its teacher's logits, and not their range.
    σ is the root of the mean square, as in the paper; the authors' code divides by C − 1 rather than C.
    A factor or a constant in an example's logits changes nothing.
    """
    variance_B1, mean_B1 = torch.var_mean(logits_BC.float(), dim=1, correction=0, keepdim=True)
    return (logits_BC.float() - mean_B1) * torch.rsqrt(variance_B1 + TINY)
