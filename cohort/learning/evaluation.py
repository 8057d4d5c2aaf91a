"""The network's posterior over a whole split, leaving the network as it was."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from cohort.data.dataset import Split
from cohort.data.source import whole
from cohort.models.early_exit import MultiExitStudent
from cohort.models.modes import in_mode
from cohort.objectives.mutual import log_posterior

EVALUATION_BATCH = 250


def evaluating(network: nn.Module) -> AbstractContextManager[None]:
    """Evaluation mode inside; afterwards every module has the mode it had, frozen ones too.

    Leaving ``eval()`` on after the first evaluation, so that batch normalisation is frozen from the
    second epoch on, is the commonest mistake in public DML code.
    """
    return in_mode(network, training=False)


def log_posterior_over(
    network: nn.Module, split: Split, device: torch.device, autocast: torch.autocast | None = None
) -> Tensor:
    """Log-posterior (T = 1) of every example of the split, in its order: float32 [N, C] on the CPU."""
    return _over(network, lambda images: [network(images)], split, device, autocast)[0]


def exit_log_posteriors_over(
    network: nn.Module, split: Split, device: torch.device, autocast: torch.autocast | None = None
) -> list[Tensor]:
    """The same for every exit of a student, shallowest first; a plain network has one."""
    if not isinstance(network, MultiExitStudent):
        return [log_posterior_over(network, split, device, autocast)]
    return _over(
        network, lambda images: list(network.outputs(images).logits), split, device, autocast
    )


@torch.no_grad()
def _over(
    network: nn.Module,
    forward: Callable[[Tensor], list[Tensor]],
    split: Split,
    device: torch.device,
    autocast: torch.autocast | None,
) -> list[Tensor]:
    parts = []
    with evaluating(network):
        for images, _ in whole(split, device=device, batch_size=EVALUATION_BATCH):
            with autocast or torch.autocast(device.type, enabled=False):
                logits = forward(images)
            parts.append([log_posterior(logits_BC).cpu() for logits_BC in logits])
    return [torch.cat(exit_parts) for exit_parts in zip(*parts, strict=True)]
