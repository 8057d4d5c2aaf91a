"""Whether a network calls its layers: members are given layers of their own, not weights to take out of them.

Shapes: C, H, W of the images.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cohort.errors import ConfigError
from cohort.models.member_layers import MEMBER_LAYERS
from cohort.models.modes import in_mode


def check_layers_are_called(network: nn.Module, image_shape: Sequence[int], flag: str) -> None:
    """Raise ConfigError if a plain network computes with the weight or bias of a layer itself.

    Only convolutions and linear layers count, whose weights the members are to have versions of;
    a layer that is never run at all may stay. ``network`` takes images of ``image_shape``, and is
    left as it was. ``flag`` is what the user gave it with.
    """
    used = used_past_their_layers(network, image_shape)
    if used:
        layer, _, key = used[0].rpartition(".")
        raise ConfigError(
            f"{flag} cannot be a batch ensemble: the network computes with the {key} of {layer!r} "
            "itself, so that all members would share it; let it call the layer, as in self.conv(x) "
            "instead of F.conv2d(x, self.conv.weight)"
        )


def used_past_their_layers(network: nn.Module, image_shape: Sequence[int]) -> list[str]:
    """Names of the weights and biases on which the logits depend other than by their layers."""
    layers = {name: m for name, m in network.named_modules() if type(m) in MEMBER_LAYERS}
    named = {f"{name}.{k}": p for name, m in layers.items() for k, p in m.named_parameters()}
    weights = list(named.values())
    with (
        torch.enable_grad(),
        torch.random.fork_rng(devices=[]),
        in_mode(network, training=False),
        _only_learning(network, weights),
        _detached(list(layers.values())),
    ):
        logits: Tensor = network(torch.zeros(2, *image_shape))
        if not logits.requires_grad:
            return []
        found = torch.autograd.grad(logits.sum(), weights, allow_unused=True)
    return [name for name, gradient in zip(named, found, strict=True) if gradient is not None]


@contextmanager
def _only_learning(network: nn.Module, wanted: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside, these parameters want gradients, and no others."""
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad = False
        for parameter in wanted:
            parameter.requires_grad = True
        yield
    finally:
        for parameter, wants in before:
            parameter.requires_grad = wants


@contextmanager
def _detached(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, no gradient passes through the forward of one of these layers to its parameters."""
    try:
        for layer in layers:  # not a hook, past which layer.forward(x) would go
            vars(layer)["forward"] = partial(_forward_detached, layer)
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _forward_detached(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    kept = layer._parameters
    vars(layer)["_parameters"] = {k: None if p is None else p.detach() for k, p in kept.items()}
    try:
        return type(layer).forward(layer, *args, **kwargs)
    finally:
        vars(layer)["_parameters"] = kept
