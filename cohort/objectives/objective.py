"""What every objective has in common: outputs and labels in, (loss, measurements) out.

Shapes: B batch, C classes, E exits.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

Measurements = dict[str, Tensor]
"""Detached scalars; a key ``exits/NAME`` may hold a vector [E], one entry per exit."""


class Objective(Protocol):
    """How a student learns from its own outputs, the labels, and its peers if it has any."""

    def posterior(self, outputs: Any, /) -> Tensor:
        """What a student shows its peers: a detached log-posterior, float32 [B, C]."""

    def loss(
        self, outputs: Any, /, labels_B: Tensor, peers: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Measurements]:
        """The scalar loss of one student, and its measurements.

        ``outputs`` are what the objective's networks give in training: logits [B, C], or several
        tensors. ``peers`` are log-posteriors [B, C] as ``posterior`` makes them.
        """
