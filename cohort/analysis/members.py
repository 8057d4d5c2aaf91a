"""The members of an ensemble, one network each, and what they say of perturbed inputs.

Shapes: B batch, M members, N examples, C classes, H x W pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cohort.analysis.findings import SEED
from cohort.data.dataset import Split
from cohort.data.source import whole
from cohort.metrics.diversity import diversity
from cohort.models.members import MembersStudent
from cohort.objectives.mutual import kl_divergence
from cohort.objectives.perturbation import InputPerturbation, PixelsToLogits

PERTURBED_BATCH = 64
"""Images moved along the gradient of the same member, as in training."""


def count_members(students: Sequence[nn.Module]) -> int:
    """M: of the only student, if it has members; else the number of students."""
    only = students[0]
    if len(students) == 1 and isinstance(only, MembersStudent):
        return only.num_members
    return len(students)


def members_of(students: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    """Networks from pixels in [0, 1] to logits [B, C]: the students, or the members of the only one.

    Members are taken apart, since the gradient of one would run through all that are computed with it.
    """
    only = students[0]
    if len(students) == 1 and isinstance(only, MembersStudent):
        return tuple(only.member_alone(member).eval() for member in range(only.num_members))
    return tuple(students)


def member_log_posteriors(
    members: Sequence[PixelsToLogits],
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
        mover = source
        if mover is None:
            mover = perturbation.chosen_teacher(SEED, step, len(members))
        x_BCHW = perturbation(images_BCHW, members[mover], seed=SEED, step=step)
        with torch.no_grad():
            logits_MBC = torch.stack([member(x_BCHW) for member in members])
        parts.append(logits_MBC.float().log_softmax(-1).cpu())
    return torch.cat(parts, dim=1)


def kl_to_clean(clean_MNC: Tensor, perturbed_MNC: Tensor) -> list[float]:
    """Each member's mean KL(posterior on the clean ‖ on the perturbed input), in nats."""
    return [
        float(kl_divergence(clean_NC.double(), perturbed_NC.double()))
        for clean_NC, perturbed_NC in zip(clean_MNC, perturbed_MNC, strict=True)
    ]


def diversity_of_others(log_posterior_MNC: Tensor, member: int) -> float:
    """Diversity of all members but one, in nats; there must be three at least."""
    others = [m for m in range(len(log_posterior_MNC)) if m != member]
    return diversity(log_posterior_MNC[others])
