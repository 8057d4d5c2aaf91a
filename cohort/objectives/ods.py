"""One-to-one distillation of an ensemble into the members of one student.

"Diversity Matters When Learning From Ensembles" — Nam, Yoon, Lee, Lee, NeurIPS 2021 (arXiv
2110.14149). ``cohort.objectives.perturbation`` makes the inputs on which the ensemble disagrees.

Shapes: M members, B batch, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from cohort.metrics.classification import mean_posterior
from cohort.metrics.diversity import pairwise_kl
from cohort.objectives.mutual import accuracy_and_entropy, kl_divergence, log_posterior
from cohort.objectives.objective import Measurements, Objective
from cohort.objectives.peer_sum import Peer

Pairing = Literal["one_to_one", "mean", "labels"]


class BesideEnsemble(NamedTuple):
    """Outputs of a student with M members, and of the ensemble that teaches it, on one batch."""

    clean_MBC: Tensor
    """The members' logits on the images."""
    perturbed_MBC: Tensor
    """The members' logits on the perturbed images; ``clean_MBC`` itself if nothing was perturbed."""
    teacher_MBC: Tensor | None
    """The teachers' log-posteriors at T = 1 on the perturbed images; M need not be the members'."""


@dataclass(frozen=True, kw_only=True)
class EnsembleDistillation(Objective):
    """L = mean over members j of (1−α)·CE(S_j(x), y) + α·τ²·KL(T_j(x̃) ‖ S_j(x̃)).

    Labels judge the clean image x, teachers the perturbed x̃; both sides of KL are softened by τ.
    ``one_to_one`` gives member j teacher j, as the paper has it; ``mean`` gives every member the
    mean of the teachers' softened posteriors; ``labels`` has no teacher and is the mean of CE alone,
    whatever α: a BatchEnsemble as Wen, Tran, Ba 2020 train it.
    """

    method: Pairing
    alpha: float
    temperature: float

    def posterior(self, outputs: BesideEnsemble) -> Tensor:
        """Log of the mean of the members' posteriors at T = 1, detached, float32 [B, C]."""
        return mean_posterior(_log_posteriors(outputs.clean_MBC.detach()).unbind())

    def loss(
        self, outputs: BesideEnsemble, labels_B: Tensor, peers: Sequence[Peer] = ()
    ) -> tuple[Tensor, Measurements]:
        """The scalar loss, and its measurements: ``kl`` has its τ².

        ``ce`` and ``kl`` are means over members, ``accuracy`` and ``entropy`` those of the members'
        mean posterior on x. ``diversity`` is that of the members on x̃, ``teacher_diversity`` of
        the teachers, each where there are two or more. ``peers`` teach nothing here: the teachers
        are among the outputs.
        """
        clean_MBC = outputs.clean_MBC.float()
        ce = self.cross_entropy(clean_MBC.flatten(0, 1), labels_B.repeat(len(clean_MBC)))
        if self.method == "labels":
            loss, kl = ce, ce.new_zeros(())
        else:
            kl = self._distillation(outputs)
            loss = (1 - self.alpha) * ce + self.alpha * kl
        measurements = {"loss": loss.detach(), "ce": ce.detach(), "kl": kl.detach()}
        measurements |= accuracy_and_entropy(self.posterior(outputs), labels_B)
        return loss, measurements | _diversities(outputs)

    def _distillation(self, outputs: BesideEnsemble) -> Tensor:
        """τ²·KL(target ‖ member) on x̃, mean over members and batch."""
        own_MBC = _log_posteriors(outputs.perturbed_MBC, self.temperature)
        target_MBC = self._targets(outputs.teacher_MBC, len(own_MBC))
        # Members and examples in one: the mean over both is the mean of the members' batch means.
        kl = kl_divergence(target_MBC.flatten(0, 1), own_MBC.flatten(0, 1))
        return self.temperature**2 * kl

    def _targets(self, teacher_MBC: Tensor | None, members: int) -> Tensor:
        """The softened log-posterior that each member is drawn to, a constant, [members, B, C]."""
        assert teacher_MBC is not None, f"{self.method} without teachers"
        # A log-posterior is the logits up to a constant, so it can be softened like them.
        softened_MBC = _log_posteriors(teacher_MBC.detach(), self.temperature)
        if self.method == "mean":
            return mean_posterior(softened_MBC.unbind()).expand(members, -1, -1)
        count = len(softened_MBC)
        assert count == members, f"{count} teachers for {members} members: one each"
        return softened_MBC


def _diversities(outputs: BesideEnsemble) -> Measurements:
    sides = {"diversity": outputs.perturbed_MBC, "teacher_diversity": outputs.teacher_MBC}
    return {
        name: pairwise_kl(_log_posteriors(side_MBC.detach())).mean().float()
        for name, side_MBC in sides.items()
        if side_MBC is not None and len(side_MBC) > 1
    }


def _log_posteriors(logits_MBC: Tensor, temperature: float = 1.0) -> Tensor:
    """``log_posterior`` of every member, [M, B, C]."""
    return log_posterior(logits_MBC.flatten(0, 1), temperature).view(logits_MBC.shape)
