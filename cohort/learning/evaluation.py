"""What the network says of a whole split, in fp32, leaving the network as it was."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from cohort.data.dataset import Search, Split
from cohort.data.source import whole
from cohort.learning.precision import exactly
from cohort.metrics.classification import mean_posterior
from cohort.models.early_exit import MultiExitStudent
from cohort.models.members import MembersStudent
from cohort.models.modules import in_mode
from cohort.models.normalised import Normalised
from cohort.objectives.mutual import log_posterior

EVALUATION_BATCH = 250


def evaluating(network: nn.Module) -> AbstractContextManager[None]:
    """Evaluation mode inside; afterwards every module has the mode it had, frozen ones too.

    Leaving ``eval()`` on after the first evaluation, so that batch normalisation is frozen from the
    second epoch on, is the commonest mistake in public DML code.
    """
    return in_mode(network, training=False)


def log_posterior_over(network: nn.Module, split: Split, device: torch.device) -> Tensor:
    """Log-posterior (T = 1) of every example of the split, in its order: float32 [N, C] on the CPU."""
    return _over(network, lambda images: [network(images)], split, device)[0]


def log_posteriors_over(network: nn.Module, split: Split, device: torch.device) -> list[Tensor]:
    """Log-posteriors [N, C] of all exits, shallowest first; of all members; or of the one network."""
    return _over(network, lambda images: _logits(network, images), split, device)


def answers_over(network: nn.Module, split: Split, device: torch.device) -> list[Tensor]:
    """What a split asks of a network: the features [N, D] of a ``Search``, else ``log_posteriors_over``."""
    if not isinstance(split, Search):
        return log_posteriors_over(network, split, device)
    assert isinstance(network, Normalised)
    return _over(network, lambda images: [network.features(images)], split, device, Tensor.cpu)


def combined(network: nn.Module, answers: Sequence[Tensor]) -> Tensor:
    """The one answer [N, C] of several, or [N, D]: the deepest exit's, or the members' mean posterior."""
    if isinstance(network, MembersStudent):
        return mean_posterior(answers)
    return answers[-1]


def _logits(network: nn.Module, images: Tensor) -> list[Tensor]:
    if isinstance(network, MultiExitStudent):
        return list(network.outputs(images).logits)
    if isinstance(network, MembersStudent):
        return list(network.of_members(images))
    return [network(images)]


@torch.no_grad()
def _over(
    network: nn.Module,
    forward: Callable[[Tensor], list[Tensor]],
    split: Split,
    device: torch.device,
    answer: Callable[[Tensor], Tensor] = log_posterior,
) -> list[Tensor]:
    parts = []
    with evaluating(network), exactly(device):
        for images, _ in whole(split, device=device, batch_size=EVALUATION_BATCH):
            parts.append([answer(output).cpu() for output in forward(images)])
    return [torch.cat(of_one) for of_one in zip(*parts, strict=True)]
