"""What a student needs of many peers at once: their sum, in place of each one's log-posterior.

Equation 9's mean divergence, 1/P · Σ_t KL(t ‖ q) = 1/P · [Σ_t Σ_c t·log t − Σ_c (Σ_t t)·log q], knows
its P peers t by the sum of their posteriors and of their negative entropies only. So what travels
need not grow with P. A student is never in the sum that it learns from: to take it out again would
leave the rounding of the whole, even a negative probability.

Shapes: B batch, C classes.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.config import Teacher


@dataclass(frozen=True)
class PeerSum:
    """One peer or several, added up; it stands for them among the ``peers`` of ``Objective.loss``."""

    total_BC: Tensor
    """Of posteriors; of log-posteriors where the teacher is ``ensemble_logits``."""
    negentropy_B: Tensor | None
    """Sum of Σ_c t·log t; None where the teacher is an ensemble, which asks for its own only."""
    count: int
    """How many peers."""

    def __add__(self, other: "PeerSum") -> "PeerSum":
        """Both together: rounding depends on the order in which peers are added."""
        negentropy_B = self.negentropy_B
        if negentropy_B is not None and other.negentropy_B is not None:
            negentropy_B = negentropy_B + other.negentropy_B
        return PeerSum(self.total_BC + other.total_BC, negentropy_B, self.count + other.count)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it consists of, besides the count."""
        return (self.total_BC,) if self.negentropy_B is None else (self.total_BC, self.negentropy_B)

    def of_tensors(self, tensors: Sequence[Tensor]) -> "PeerSum":
        """The same, in other places."""
        total_BC, negentropy_B = (*tensors, None)[:2]
        assert total_BC is not None
        return PeerSum(total_BC, negentropy_B, self.count)

    def to(self, device: torch.device, non_blocking: bool = False) -> "PeerSum":
        """The same on a device."""
        return self.of_tensors([t.to(device, non_blocking=non_blocking) for t in self.tensors])


Peer = Tensor | PeerSum
"""A peer's log-posterior [B, C], or the sum of several."""


def add_up(peers: Sequence[Peer], teacher: Teacher) -> PeerSum:
    """The peers' sum, added in the order given; none of them gets a gradient."""
    return functools.reduce(operator.add, [_as_sum(peer, teacher) for peer in peers])


def _as_sum(peer: Peer, teacher: Teacher) -> PeerSum:
    if isinstance(peer, PeerSum):
        return peer
    peer_BC = peer.detach()
    if teacher == "ensemble_logits":
        return PeerSum(peer_BC, None, 1)
    posterior_BC = peer_BC.exp()
    negentropy_B = (posterior_BC * peer_BC).sum(dim=1) if teacher == "peers" else None
    return PeerSum(posterior_BC, negentropy_B, 1)


def tensors_of(peers: Sequence[Peer]) -> list[Tensor]:
    """All tensors of peers, in order: what is copied where a captured step reads it."""
    return [t for peer in peers for t in (peer.tensors if isinstance(peer, PeerSum) else (peer,))]


def in_places(peers: Sequence[Peer], tensors: Sequence[Tensor]) -> list[Peer]:
    """The same peers, whose ``tensors_of`` lie elsewhere."""
    left = iter(tensors)
    return [
        peer.of_tensors([next(left) for _ in peer.tensors])
        if isinstance(peer, PeerSum)
        else next(left)
        for peer in peers
    ]
