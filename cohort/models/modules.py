"""Asked of any module: a mode for a while, and its size."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """All modules in one mode inside; afterwards each has the mode it had, frozen ones too."""
    modes = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def count_parameters(module: nn.Module) -> int:
    """How many numbers a module learns; a parameter that stands in two places counts once."""
    return sum(parameter.numel() for parameter in module.parameters())
