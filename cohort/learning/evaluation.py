"""The network's posterior over a whole split, leaving the network as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cohort.data.dataset import Split
from cohort.data.source import whole
from cohort.objectives.mutual import log_posterior

EVALUATION_BATCH = 250


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module has the mode it had, frozen ones too.

    Leaving ``eval()`` on after the first evaluation, so that batch normalisation is frozen from the
    second epoch on, is the commonest mistake in public DML code.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def log_posterior_over(
    network: nn.Module, split: Split, device: torch.device, autocast: torch.autocast | None = None
) -> Tensor:
    """Log-posterior (T = 1) of every example of the split, in its order: float32 [N, C] on the CPU."""
    parts = []
    with evaluating(network):
        for images, _ in whole(split, device=device, batch_size=EVALUATION_BATCH):
            with autocast or torch.autocast(device.type, enabled=False):
                logits_BC = network(images)
            parts.append(log_posterior(logits_BC).cpu())
    return torch.cat(parts)
