"""What a network makes of an image before it decides on a class: its last pooling layer.

Of any network whose logits come from an nn.Linear; found by running it, so that nobody needs to name
a layer. Shapes: B batch, C classes, D features.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cohort.errors import ConfigError


class Call(NamedTuple):
    """A layer that was run."""

    layer: nn.Module
    input: Any
    output: Any


@torch.no_grad()
def features_of(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    """What the nn.Linear that gives the logits reads, float32 [B, D]; runs the network as it is.

    Raises ConfigError if the logits come from anything else.
    """
    with _last_call(network) as last:
        logits = network(x_BCHW)
    call = last[0] if last else Call(network, None, None)
    if not isinstance(call.layer, nn.Linear) or _shape(call.output) != _shape(logits):
        raise ConfigError(
            f"{type(network).__name__} gives its logits by a {type(call.layer).__name__}, so it has no "
            "features to compare people by; let an nn.Linear that reads [batch, features] end it"
        )
    features_BD: Tensor = call.input
    return features_BD.float()


@contextmanager
def _last_call(network: nn.Module) -> Iterator[list[Call]]:
    """Inside, the layer with parameters that was run last is kept."""
    last: list[Call] = []  # one: maps of all layers together are large

    def note(
        layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        last[:] = [Call(layer, args[0] if args else next(iter(kwargs.values()), None), output)]

    hooks = [
        module.register_forward_hook(note, with_kwargs=True)
        for module in network.modules()
        if isinstance(module, nn.Linear) or (module._parameters and not module._modules)
    ]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def _shape(logits: Any) -> tuple[int, ...]:
    return tuple(logits.shape) if isinstance(logits, Tensor) else ()
