"""Auxiliary classifiers — Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 5.

Shapes: B batch, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from cohort.objectives.objective import Measurements, Objective
from cohort.objectives.peer_sum import Peer


class BesideHeads(NamedTuple):
    """Outputs of a network and of its auxiliary heads on one batch."""

    logits_BC: Tensor
    heads: tuple[Tensor, ...]
    """Logits [B, C] of each."""


@dataclass(frozen=True, kw_only=True)
class WithAuxiliary(Objective):
    """L = L_main + w · Σ_i CE(z_i, y) over the heads i, which learn from the labels alone."""

    main: Objective
    """Of the network's own logits; what its peers see is this one's posterior."""
    weight: float

    def posterior(self, outputs: BesideHeads) -> Tensor:
        """The main objective's, of the network's own logits."""
        return self.main.posterior(outputs.logits_BC)

    def loss(
        self, outputs: BesideHeads, labels_B: Tensor, peers: Sequence[Peer] = ()
    ) -> tuple[Tensor, Measurements]:
        """The loss, and the main objective's measurements; ``loss`` is the whole.

        ``ce_auxiliary`` is the mean over the heads, without the weight. All labels are smoothed alike.
        """
        main = replace(self.main, label_smoothing=self.label_smoothing)
        loss, measurements = main.loss(outputs.logits_BC, labels_B, peers)
        ce_H = torch.stack([self.cross_entropy(logits, labels_B) for logits in outputs.heads])
        loss = loss + self.weight * ce_H.sum()
        return loss, measurements | {"loss": loss.detach(), "ce_auxiliary": ce_H.mean().detach()}
