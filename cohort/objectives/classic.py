"""Two-step distillation from a trained teacher: the methods that Table 3 of self-distillation names.

KD (Hinton et al. 2015, arXiv 1503.02531), FitNets (Romero et al. 2015, arXiv 1412.6550) and
Attention Transfer (Zagoruyko & Komodakis 2017, arXiv 1612.03928).

Shapes: B batch, C classes or channels, H x W pixels of a map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cohort.objectives.mutual import KL, Divergence, accuracy_and_entropy, log_posterior, softened
from cohort.objectives.objective import Measurements, Objective
from cohort.objectives.peer_sum import Peer

Hint = Literal["none", "maps", "attention"]


class BesideTeacher(NamedTuple):
    """Outputs of a student and of its frozen teacher on one batch."""

    logits_BC: Tensor
    maps: tuple[Tensor, ...]
    """The student's [B, C, H, W]; for ``hint="maps"`` already with the teacher's channels."""
    teacher_logits_BC: Tensor
    teacher_maps: tuple[Tensor, ...]
    """The teacher's [B, C, H, W], one for each of the student's."""


@dataclass(frozen=True, kw_only=True)
class ClassicDistillation(Objective):
    """L = (1−α)·CE(z, y) + α·T²·KL(teacher ‖ student) + λ·hint. The teacher is a constant.

    Another ``divergence`` stands in KL's place; with ``standardise`` both posteriors are of
    standardised logits.

    ``hint`` sums a distance over pairs of maps: ``maps`` their mean squared difference (FitNets,
    equation 3), ``attention`` that of their attention (Attention Transfer, equation 2).
    ``cohort.jobs.self_distill.config.CONSTANTS`` has those that re-implementations (RepDistiller)
    use: α 0.9 and T 4 for KD, λ 100 for FitNets, λ 1000 for attention, these two beside the labels alone.
    """

    alpha: float
    temperature: float
    hint: Hint
    hint_weight: float
    divergence: Divergence = KL
    standardise: bool = False

    def posterior(self, outputs: BesideTeacher) -> Tensor:
        """The student's detached log-posterior at T = 1, float32 [B, C]."""
        return log_posterior(outputs.logits_BC.detach())

    def loss(
        self, outputs: BesideTeacher, labels_B: Tensor, peers: Sequence[Peer] = ()
    ) -> tuple[Tensor, Measurements]:
        """The scalar loss, and its measurements: ``kl`` has its T², ``hint`` not its weight.

        ``peers`` teach nothing here: the teacher is among the outputs.
        """
        logits_BC = outputs.logits_BC.float()
        ce = self.cross_entropy(logits_BC, labels_B)
        sides = outputs.teacher_logits_BC.detach(), logits_BC
        target_BC, own_BC = (
            softened(side_BC, self.temperature, standardise=self.standardise) for side_BC in sides
        )
        kl = self.temperature**2 * self.divergence(target_BC, own_BC, labels_B)
        hint = self._hint(outputs)
        loss = (1 - self.alpha) * ce + self.alpha * kl + self.hint_weight * hint
        measurements = {"loss": loss, "ce": ce, "kl": kl, "hint": hint}
        detached = {name: value.detach() for name, value in measurements.items()}
        return loss, detached | accuracy_and_entropy(logits_BC, labels_B)

    def _hint(self, outputs: BesideTeacher) -> Tensor:
        """The unweighted sum over pairs of maps; 0 for ``none``."""
        if self.hint == "none":
            return outputs.logits_BC.new_zeros((), dtype=torch.float32)
        distances = []
        for own_BCHW, teacher_BCHW in zip(outputs.maps, outputs.teacher_maps, strict=True):
            pair = same_size(own_BCHW.float(), teacher_BCHW.detach().float())
            if self.hint == "attention":
                pair = attention(pair[0]), attention(pair[1])
            distances.append(F.mse_loss(*pair))
        return torch.stack(distances).sum()


def attention(map_BCHW: Tensor) -> Tensor:
    """Where a map is active: mean over channels of its square, of L2 norm 1, [B, HW]."""
    return F.normalize(map_BCHW.square().mean(dim=1).flatten(1), dim=1)


def same_size(one_BCHW: Tensor, other_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps, the larger one average-pooled to the height and width of the smaller."""
    height, width = map(min, one_BCHW.shape[2:], other_BCHW.shape[2:])
    size = height, width
    return F.adaptive_avg_pool2d(one_BCHW, size), F.adaptive_avg_pool2d(other_BCHW, size)
