"""Deep Mutual Learning — Zhang, Xiang, Hospedales, Lu, CVPR 2018 (arXiv 1706.00384).

Students exchange *log*-posteriors: every teacher below is a function of them, and they keep the
small probabilities that a float32 posterior would round away.

Shapes: B batch, C classes, P = K−1 peers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cohort.config import Teacher
from cohort.objectives.kdcl import min_logit, naive
from cohort.objectives.objective import Measurements, Objective
from cohort.objectives.peer_sum import Peer, PeerSum, add_up
from cohort.objectives.standardisation import standardised

OF_ALL: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kdcl_naive": naive,
    "kdcl_minlogit": min_logit,
}
"""Teachers that are made of all students, the one who learns among them, and of the labels."""


class Divergence(Protocol):
    """How far a student is from a teacher."""

    def __call__(self, target_BC: Tensor, own_BC: Tensor, labels_B: Tensor) -> Tensor:
        """The scalar of the teacher's log-posterior and the student's, both at the same temperature."""
        ...


@dataclass(frozen=True)
class KullbackLeibler:
    """KL(t ‖ p), whatever the right classes are."""

    def __call__(self, target_BC: Tensor, own_BC: Tensor, labels_B: Tensor) -> Tensor:
        """``kl_divergence``."""
        return kl_divergence(target_BC, own_BC)


KL = KullbackLeibler()


def log_posterior(logits_BC: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(z / T) in float32, [B, C]."""
    return F.log_softmax(logits_BC.float() / temperature, dim=1)


def softened(logits_BC: Tensor, temperature: float, *, standardise: bool) -> Tensor:
    """``log_posterior`` of logits, or of standardised ones (``cohort.objectives.standardisation``)."""
    return log_posterior(standardised(logits_BC) if standardise else logits_BC, temperature)


def kl_divergence(target_BC: Tensor, approximation_BC: Tensor) -> Tensor:
    """KL(target ‖ approximation) of two log-posteriors: summed over classes, mean over the batch."""
    return (target_BC.exp() * (target_BC - approximation_BC)).sum(dim=1).mean()


def accuracy_and_entropy(logits_BC: Tensor, labels_B: Tensor) -> Measurements:
    """Fraction of examples that are right, and mean entropy of the posterior at T = 1; detached."""
    own_BC = log_posterior(logits_BC.detach())
    return {
        "accuracy": (own_BC.argmax(dim=1) == labels_B).float().mean(),
        "entropy": -(own_BC.exp() * own_BC).sum(dim=1).mean(),
    }


def teachers(peers: Sequence[Tensor], teacher: Teacher) -> list[Tensor]:
    """The log-posteriors a student is drawn to, made from its peers' log-posteriors (each [B, C]).

    ``peers`` are the peers themselves (equation 9); ``ensemble`` their arithmetic mean (equation
    11); ``ensemble_logits`` the softmax of their mean logit, the geometric mean, which can be more
    peaked than its parts; ``none`` is no teacher at all.
    """
    if teacher == "none" or not peers:
        return []
    if teacher == "peers":
        return list(peers)
    stacked_PBC = torch.stack(list(peers))
    if teacher == "ensemble":
        return [torch.logsumexp(stacked_PBC, dim=0) - math.log(len(peers))]
    # A log-posterior is the logits up to a constant per example, which the softmax removes again.
    return [F.log_softmax(stacked_PBC.mean(dim=0), dim=1)]


def mimicry(
    own_BC: Tensor,
    peers: Sequence[Peer],
    teacher: Teacher,
    divergence: Callable[[Tensor, Tensor], Tensor] = kl_divergence,
) -> Tensor:
    """Mean over teachers t of KL(t ‖ own), of a log-posterior and its peers, who are constants.

    Where one of the peers is a sum of several, all are added up, in order: that is enough for KL, and
    for no other ``divergence``.
    """
    if teacher == "none" or not peers:
        return own_BC.new_zeros(())
    alone = [peer.detach() for peer in peers if not isinstance(peer, PeerSum)]
    if len(alone) < len(peers):
        return _divergence_from(add_up(peers, teacher), own_BC, teacher)
    divergences = [divergence(target_BC, own_BC) for target_BC in teachers(alone, teacher)]
    return torch.stack(divergences).mean()


def _divergence_from(summed: PeerSum, own_BC: Tensor, teacher: Teacher) -> Tensor:
    """The same of peers that were added up: value and gradient are equal but for rounding."""
    mean_BC = summed.total_BC / summed.count
    if teacher == "ensemble_logits":
        return kl_divergence(F.log_softmax(mean_BC, dim=1), own_BC)
    if teacher == "ensemble":
        # xlogy: a probability that was rounded to 0 counts as 0, whatever its logarithm.
        negentropy_B = torch.xlogy(mean_BC, mean_BC).sum(dim=1)
    else:
        assert summed.negentropy_B is not None, "these peers were added up for an ensemble"
        negentropy_B = summed.negentropy_B / summed.count
    return (negentropy_B - (mean_BC * own_BC).sum(dim=1)).mean()


@dataclass(frozen=True, kw_only=True)
class MutualLearning(Objective):
    """L_k = CE(z_k, y) + w·T² · mean over teachers t of KL(t ‖ p_k), equations 9 and 11.

    Peers are constants. At T = 1 this is the paper's loss; T² keeps the gradient's size at others.
    Another ``divergence`` stands in KL's place; with ``standardise`` all posteriors are of
    standardised logits, those that peers are shown too.
    """

    teacher: Teacher = "peers"
    temperature: float = 1.0
    weight: float = 1.0
    divergence: Divergence = KL
    standardise: bool = False

    def posterior(self, logits_BC: Tensor) -> Tensor:
        """What a student shows its peers: the detached log-posterior at T, float32 [B, C]."""
        return softened(logits_BC.detach(), self.temperature, standardise=self.standardise)

    def loss(
        self, logits_BC: Tensor, labels_B: Tensor, peers: Sequence[Peer] = ()
    ) -> tuple[Tensor, Measurements]:
        """The scalar loss of one student, and its measurements (detached scalars).

        ``peers`` are log-posteriors [B, C] at the objective's temperature, or sums of several.
        """
        logits_BC = logits_BC.float()
        ce = self.cross_entropy(logits_BC, labels_B)
        own_BC = softened(logits_BC, self.temperature, standardise=self.standardise)
        kl = self.temperature**2 * self._mimicry(own_BC, labels_B, peers)
        loss = ce + self.weight * kl
        measurements = {"loss": loss.detach(), "ce": ce.detach(), "kl": kl.detach()}
        return loss, measurements | accuracy_and_entropy(logits_BC, labels_B)

    def _mimicry(self, own_BC: Tensor, labels_B: Tensor, peers: Sequence[Peer]) -> Tensor:
        """The divergence from the teachers, without its weight and T²."""
        shown = [peer.detach() for peer in peers if not isinstance(peer, PeerSum)]
        plain = isinstance(self.divergence, KullbackLeibler) and self.teacher not in OF_ALL
        assert plain or len(shown) == len(peers), f"a sum of peers is not enough for {self}"
        divergence = partial(self.divergence, labels_B=labels_B)
        if self.teacher not in OF_ALL or not peers:
            return mimicry(own_BC, peers, self.teacher, divergence)
        everyone_KBC = torch.stack([own_BC.detach(), *shown])
        return divergence(OF_ALL[self.teacher](everyone_KBC, labels_B), own_BC)
