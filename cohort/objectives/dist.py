"""Knowledge Distillation from a Stronger Teacher — Huang et al., NeurIPS 2022 (arXiv 2205.10536).

Shapes: B batch, C classes.
"""

from dataclasses import dataclass

from torch import Tensor

TINY = 1e-8
"""Added to a product of lengths, as the authors' code has it: of a constant nothing is known."""


@dataclass(frozen=True)
class Relations:
    """Inter + γ·intra, with the Pearson correlation ρ of posteriors t and p (equations 6 to 9).

        inter = 1 − mean over examples b of ρ(t_b, p_b), over the classes
        intra = 1 − mean over classes c of ρ(t_·c, p_·c), over the examples of the batch

    A student is asked for its teacher's relations and not for the very same probabilities. The paper's
    β, of the first term, is in the weight of the whole; the authors' code has β and γ 1.
    """

    gamma: float = 1.0

    def __call__(self, target_BC: Tensor, own_BC: Tensor, labels_B: Tensor) -> Tensor:
        """The scalar of two log-posteriors; the labels have no part in it."""
        target_BC, posterior_BC = target_BC.exp(), own_BC.exp()
        inter = 1 - correlation(target_BC, posterior_BC, dim=1).mean()
        return inter + self.gamma * (1 - correlation(target_BC, posterior_BC, dim=0).mean())


def correlation(one: Tensor, other: Tensor, dim: int) -> Tensor:
    """Pearson's, over a dimension, which is left out of the result."""
    one, other = (each - each.mean(dim=dim, keepdim=True) for each in (one, other))
    lengths: Tensor = one.norm(dim=dim) * other.norm(dim=dim)
    return (one * other).sum(dim) / (lengths + TINY)
