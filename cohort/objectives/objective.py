"""What every objective has in common: outputs and labels in, (loss, measurements) out.

Shapes: B batch, C classes, E exits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from cohort.objectives.peer_sum import Peer

Measurements = dict[str, Tensor]
"""Detached scalars; a key ``exits/NAME`` may hold a vector [E], one entry per exit."""


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """How a student learns from its own outputs, the labels, and its peers if it has any."""

    label_smoothing: float = 0.0
    """ε of ``cross_entropy``; a learner sets it as its plan says."""

    @abstractmethod
    def posterior(self, outputs: Any, /) -> Tensor:
        """What a student shows its peers: a detached log-posterior, float32 [B, C]."""

    @abstractmethod
    def loss(
        self, outputs: Any, /, labels_B: Tensor, peers: Sequence[Peer] = ()
    ) -> tuple[Tensor, Measurements]:
        """The scalar loss of one student, and its measurements.

        ``outputs`` are what the objective's networks give in training: logits [B, C], or several
        tensors. ``peers`` are log-posteriors [B, C] as ``posterior`` makes them, or sums of several.
        """

    def cross_entropy(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        """CE(z, (1−ε)·y + ε/C), the mean over the batch: the labels y share ε among all classes."""
        return F.cross_entropy(logits_BC.float(), labels_B, label_smoothing=self.label_smoothing)
