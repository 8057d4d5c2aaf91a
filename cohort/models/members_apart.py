"""Whether a member of a batch ensemble answers by its own weights alone.

A network that computes with the weight of a layer itself would let all members share that weight.
One that compares the examples of a batch, or has something else than examples along the first
dimension, which each layer gives to the members in equal parts, would mix the members up.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.models.batch_ensemble import BatchEnsemble
from cohort.models.member_layers import member_layers


@torch.no_grad()
def check_members_apart(ensemble: BatchEnsemble, image_shape: Sequence[int], flag: str) -> None:
    """Raise ConfigError if the last member answers otherwise once all weights but its own change.

    The ensemble takes images of ``image_shape``, and is left as it was. ``flag`` is what the user
    gave its network with.
    """
    tried, last = copy.deepcopy(ensemble).eval(), ensemble.members - 1
    with torch.random.fork_rng(devices=[]):
        images = torch.rand(2, *image_shape)
        for parameter in tried.parameters():
            if not parameter.any():  # zeros would hide what they multiply
                nn.init.normal_(parameter, std=0.1)
        torch.default_generator.manual_seed(0)  # a network that draws shall draw the same twice
        before = tried(images)[last]
        _change_all_but(tried, last)
        torch.default_generator.manual_seed(0)
        after = tried(images)[last]
    if not torch.allclose(before, after, equal_nan=True):
        raise ConfigError(
            f"{flag} cannot be a batch ensemble: a member's answer depends on more than its own "
            "weights; the network must call its layers, as in self.conv(x) instead of F.conv2d(x, "
            "self.conv.weight), treat each example of a batch for itself, and keep them along the "
            "first dimension of what its convolutions and linear layers are given"
        )


def _change_all_but(ensemble: BatchEnsemble, member: int) -> None:
    """Other weights for all members but one, and for what they share under their layers."""
    layers = member_layers(ensemble)
    for layer, weights in [(layer, layer.weights()) for layer in layers]:
        others = torch.arange(len(weights)) != member
        weights[others] = torch.randn_like(weights[others])
        layer.weights = weights.clone  # type: ignore[method-assign]
        layer.weight.normal_()
        if layer.bias is not None:
            layer.bias[others] = torch.randn_like(layer.bias[others])
