"""Self-distillation, "Be Your Own Teacher" — Zhang et al., ICCV 2019 (arXiv 1905.08094).

A network with exits teaches itself: the deepest exit is the teacher of the shallow ones.

Shapes: B batch, C classes, F features, E exits, shallowest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from cohort.config import HintDistance
from cohort.models.multi_exit import ExitOutputs
from cohort.objectives.mutual import MutualLearning, kl_divergence, log_posterior
from cohort.objectives.objective import Measurements, Objective
from cohort.objectives.peer_sum import Peer

LABELS_ONLY = MutualLearning(teacher="none")


@dataclass(frozen=True, kw_only=True)
class SelfDistillation(Objective):
    """L = CE(q_C, y) + Σ_i [(1−α)·CE(q_i, y) + α·T²·KL(q_C ‖ q_i) + λ·mean_b ‖F_i − F_C‖²].

    The sum runs over the shallow exits i; C is the deepest. q_C and F_C are constants in it, so the
    deepest exit learns from the labels alone. The paper's loss, but with T² to keep the gradient's
    size at any temperature.
    """

    alpha: float = 0.3
    hint_weight: float = 0.03
    hint_distance: HintDistance = "sum"
    """Of squares over the features of an example; ``mean`` divides by their number F, which makes of
    λ 0.03 a hint whose gradient is a hundredth of the others'."""
    temperature: float = 3.0

    def posterior(self, outputs: ExitOutputs) -> Tensor:
        """The detached log-posterior of the deepest exit at T = 1, float32 [B, C]."""
        return LABELS_ONLY.posterior(outputs.logits[-1])

    def loss(
        self, outputs: ExitOutputs, labels_B: Tensor, peers: Sequence[Peer] = ()
    ) -> tuple[Tensor, Measurements]:
        """The loss summed over all exits, and its measurements.

        ``ce``, ``accuracy`` and ``entropy`` are the deepest exit's, ``kl`` (with its T²) and
        ``hint`` means over the shallow ones; ``exits/…`` are vectors [E]. A network with one exit
        has CE alone. ``peers`` teach nothing here: see ``MutualSelfDistillation``.
        """
        loss, measurements = self.loss_beside(LABELS_ONLY, outputs, labels_B)
        return loss, measurements | {"kl": _over_shallow(measurements["exits/kl"])}

    def loss_beside(
        self,
        mutual: MutualLearning,
        outputs: ExitOutputs,
        labels_B: Tensor,
        peers: Sequence[Peer] = (),
    ) -> tuple[Tensor, Measurements]:
        """The deepest exit learns by ``mutual``, whose measurements stay; the others from it.

        The labels of all are smoothed alike, as this objective says.
        """
        mutual = replace(mutual, label_smoothing=self.label_smoothing)
        deepest, measurements = mutual.loss(outputs.logits[-1], labels_B, peers)
        ce_E = torch.stack([self.cross_entropy(z, labels_B) for z in outputs.logits])
        kl_E, hint_E = self._divergences(outputs.logits), self._distances(outputs.features)
        terms_E = (1 - self.alpha) * ce_E + self.alpha * kl_E + self.hint_weight * hint_E
        loss = deepest + terms_E[:-1].sum()
        return loss, measurements | {
            "loss": loss.detach(),
            "hint": _over_shallow(hint_E.detach()),
            "exits/ce": ce_E.detach(),
            "exits/kl": kl_E.detach(),
            "exits/hint": hint_E.detach(),
            "exits/accuracy": _accuracies(outputs.logits, labels_B),
        }

    def _divergences(self, logits: Sequence[Tensor]) -> Tensor:
        """T²·KL(q_C ‖ q_i) of every exit, [E]; 0 for the deepest."""
        *shallow, deepest_BC = logits
        target_BC = log_posterior(deepest_BC.detach(), self.temperature)
        divergences = [
            kl_divergence(target_BC, log_posterior(z, self.temperature)) for z in shallow
        ]
        return self.temperature**2 * torch.stack([*divergences, target_BC.new_zeros(())])

    def _distances(self, features: Sequence[Tensor]) -> Tensor:
        """mean_b ‖F_i − F_C‖², or its F-th part, of every exit, [E]; 0 for the deepest."""
        *shallow, deepest_BF = (feature_BF.float() for feature_BF in features)
        target_BF = deepest_BF.detach()
        distances = [F.mse_loss(feature_BF, target_BF) for feature_BF in shallow]
        size = target_BF.shape[1] if self.hint_distance == "sum" else 1
        return size * torch.stack([*distances, target_BF.new_zeros(())])


DEEP_SUPERVISION = SelfDistillation(alpha=0.0, hint_weight=0.0)
"""A network with exits taught by the labels only: deeply-supervised nets, the paper's Table 4."""


@dataclass(frozen=True, kw_only=True)
class MutualSelfDistillation(SelfDistillation):
    """Students with exits that teach each other: what peers see is the deepest exit.

    The deepest exit has the mutual loss, the shallow ones the terms of self-distillation.
    """

    mutual: MutualLearning

    def posterior(self, outputs: ExitOutputs) -> Tensor:
        """The deepest exit's detached log-posterior at the mutual temperature, float32 [B, C]."""
        return self.mutual.posterior(outputs.logits[-1])

    def loss(
        self, outputs: ExitOutputs, labels_B: Tensor, peers: Sequence[Peer] = ()
    ) -> tuple[Tensor, Measurements]:
        """The loss summed over all exits, and the measurements of ``SelfDistillation.loss``.

        But ``kl`` is that of the deepest exit's mimicry; those of the other exits are ``exits/kl``.
        """
        return self.loss_beside(self.mutual, outputs, labels_B, peers)


def _accuracies(logits: Sequence[Tensor], labels_B: Tensor) -> Tensor:
    """Fraction of examples that each exit gets right, [E]."""
    guesses_EB = torch.stack([logits_BC.detach().argmax(dim=1) for logits_BC in logits])
    return (guesses_EB == labels_B).float().mean(dim=1)


def _over_shallow(values_E: Tensor) -> Tensor:
    """The mean over the shallow exits of a vector that is 0 for the deepest; 0 if there are none."""
    return values_E.sum() / max(len(values_E) - 1, 1)
