"""A network from the user's own factory, and whether any network fits the data."""

from typing import Any

import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.imports import one_line, takes
from cohort.models.batch_ensemble import BatchEnsemble
from cohort.models.families import ImageShape
from cohort.models.modules import in_mode
from cohort.models.spec import Network, shown


def call_factory(
    factory: object, spec: Network, num_classes: int, image_shape: ImageShape, *, flag: str
) -> nn.Module:
    """What the user's own factory builds for images (C, H, W). Raises ConfigError if it is none."""
    if isinstance(factory, nn.Module) or not callable(factory):
        raise ConfigError(
            f"{flag} is {shown(spec)}, which is of type {type(factory).__name__}; "
            "it must be a function that returns a new torch.nn.Module"
        )
    arguments: dict[str, Any] = {"num_classes": num_classes}
    if takes(factory, "image_shape"):
        arguments["image_shape"] = image_shape
    try:
        network = factory(**arguments)
    except Exception as error:
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise ConfigError(
            f"{flag} is {shown(spec)}, which failed when called with {given}: {one_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"{flag} is {shown(spec)}, which returned something of type {type(network).__name__}; "
            "it must return a torch.nn.Module"
        )
    return network


@torch.no_grad()
def check_network(
    network: nn.Module,
    num_classes: int,
    image_shape: ImageShape,
    spec: Network,
    *,
    flag: str = "--students",
) -> None:
    """Raise ConfigError unless two images give logits [2, num_classes]; changes nothing.

    A batch ensemble gives those of every member.
    """
    batch = (2, *image_shape)
    try:
        with in_mode(network, training=False):  # so that batch norm keeps its statistics
            logits = network(torch.zeros(batch))
    except Exception as error:
        raise ConfigError(
            f"{flag} is {shown(spec)}, which failed on images of shape {image_shape} "
            f"(perhaps it needs another size): {one_line(error)}"
        ) from error
    got = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    expected = [2, num_classes]
    if isinstance(network, BatchEnsemble):
        expected = [network.members, *expected]
    if got != expected:
        raise ConfigError(
            f"{flag} is {shown(spec)}, which gave {got} for images {list(batch)}; "
            f"it must give logits {expected}"
        )
