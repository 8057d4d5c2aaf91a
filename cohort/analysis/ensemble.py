"""Several networks as one: the students of a run, or the members of its only student.

Shapes: B batch, M members, N examples, C classes, H x W pixels.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from cohort.analysis.outcome import SEED
from cohort.data.dataset import Split
from cohort.data.source import whole
from cohort.objectives.perturbation import InputPerturbation, PixelsToLogits

PERTURBED_BATCH = 64
"""Images moved along the gradient of the same member, as in training."""


@runtime_checkable
class HasMembers(Protocol):
    """A student of several members that computes them together."""

    @property
    def num_members(self) -> int:
        """M."""

    def of_members(self, x_BCHW: Tensor) -> Tensor:
        """Pixels in [0, 1] to each member's logits, [M, B, C]."""


class Ensemble:
    """Networks in evaluation mode, each from pixels in [0, 1] to logits [B, C]; callable for all logits.

    Args:
        networks: at least one; if it is only one and that has members, they are the ensemble.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = tuple(networks)

    @property
    def count(self) -> int:
        """M."""
        first = self.networks[0]
        if len(self.networks) == 1 and isinstance(first, HasMembers):
            return first.num_members
        return len(self.networks)

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Every member's logits, [M, B, C]."""
        first = self.networks[0]
        if len(self.networks) == 1 and isinstance(first, HasMembers):
            return first.of_members(x_BCHW)
        return torch.stack([network(x_BCHW) for network in self.networks])

    def one(self, member: int) -> PixelsToLogits:
        """A member alone: images to logits [B, C]."""
        if len(self.networks) == self.count:
            return self.networks[member]
        return lambda x_BCHW: self(x_BCHW)[member]


def member_log_posteriors(
    ensemble: Ensemble,
    split: Split,
    perturbation: InputPerturbation,
    device: torch.device,
    source: int | None = None,
) -> Tensor:
    """Every member's log-posterior on every perturbed example: float32 [M, N, C] on the CPU.

    The same x̃ is given to all members. ``source`` is the member along whose gradient inputs are
    moved; by default one is drawn per batch, as in training.
    """
    parts = []
    batches = whole(split, device=device, batch_size=PERTURBED_BATCH)
    for step, (images_BCHW, _) in enumerate(batches):
        member = source
        if member is None:
            member = perturbation.chosen_teacher(SEED, step, ensemble.count)
        x_BCHW = perturbation(images_BCHW, ensemble.one(member), seed=SEED, step=step)
        with torch.no_grad():
            parts.append(ensemble(x_BCHW).float().log_softmax(-1).cpu())
    return torch.cat(parts, dim=1)
