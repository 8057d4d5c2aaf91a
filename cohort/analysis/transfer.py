"""Whether inputs made with one network move the others too, and apart from each other.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149), Figure 6.

Shapes: M members, N examples, C classes.
"""

from dataclasses import dataclass

from torch import Tensor

from cohort.metrics.diversity import diversity
from cohort.objectives.mutual import kl_divergence


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What perturbed inputs do to an ensemble."""

    diversity: float
    """Of all members on the perturbed inputs, in nats."""
    kl_to_clean: tuple[float, ...]
    """Of each member: mean KL(posterior on the clean ‖ on the perturbed input), in nats."""


def transfer(clean_MNC: Tensor, perturbed_MNC: Tensor) -> Transfer:
    """What perturbed inputs do, from log-posteriors on the clean and on the perturbed examples."""
    return Transfer(
        diversity=diversity(perturbed_MNC),
        kl_to_clean=tuple(
            float(kl_divergence(clean_NC.double(), perturbed_NC.double()))
            for clean_NC, perturbed_NC in zip(clean_MNC, perturbed_MNC, strict=True)
        ),
    )


def diversity_of_others(log_posterior_MNC: Tensor, member: int) -> float:
    """Diversity of all members but one, in nats; there must be three at least."""
    others = [m for m in range(len(log_posterior_MNC)) if m != member]
    return diversity(log_posterior_MNC[others])
