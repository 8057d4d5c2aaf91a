"""A network in M members that share their weights: BatchEnsemble (Wen, Tran, Ba, ICLR 2020).

Shapes: B batch, C classes, M members, O output channels; what the layers do: ``member_layers``.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from cohort.errors import ConfigError
from cohort.models.member_layers import MEMBER_LAYERS, MemberLayer
from cohort.models.spec import MemberInit

AS_THEY_ARE = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.PReLU)
"""Layers whose parameters the members share; the first are batch and instance normalisation."""
Replace = Callable[[nn.Module], nn.Module]


class BatchEnsemble(nn.Module):
    """A network whose convolutions and linear layers are MemberLayers; what is between is shared.

    Batch normalisation sees the examples of all members as one batch.
    """

    def __init__(self, network: nn.Module, members: int) -> None:
        super().__init__()
        self.network = network
        self.members = members

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [M, B, C] of all members, in one pass."""
        logits: Tensor = self.network(torch.cat([x_BCHW] * self.members))
        return logits.view(self.members, x_BCHW.shape[0], -1)

    def member_alone(self, member: int) -> nn.Module:
        """Member 0 to M - 1 as a plain network, of copies of this one's modules.

        Raises ConfigError if there is no such member.
        """
        if member not in range(self.members):
            raise ConfigError(
                f"member is {member}; the batch ensemble has members 0 to {self.members - 1}"
            )
        return replace_layers(
            copy.deepcopy(self.network),
            lambda layer: layer.member_alone(member) if isinstance(layer, MemberLayer) else layer,
        )


def batch_ensemble(
    network: nn.Module, members: int, *, init: MemberInit = "normal", flag: str = "--model"
) -> BatchEnsemble:
    """A batch ensemble of ``network``, whose layers are replaced in place.

    Each member starts with the network's biases, and with r and s of its own. Whether they stay
    apart in what the network does between its layers is asked by ``check_members_apart``.

    Args:
        network: from images to logits [B, C]; what is no convolution, linear layer or normalisation
            must have no parameters.
        members: M, 2 or more.
        init: r and s from ``normal``, N(1, 0.5) with 0.5 the standard deviation, or of random
            ``sign``, as likely 1 as -1; drawn from torch's global generator.
        flag: what the user gave the network with, for messages.

    Raises:
        ConfigError: naming the layer, if members cannot share it; or if there is none to share.
    """
    if members < 2:
        raise ConfigError(f"{flag} asks for {members} members; a batch ensemble has 2 or more")
    for name, module in network.named_modules():
        _check_layer(module, name, flag)
    if not any(type(module) in MEMBER_LAYERS for module in network.modules()):
        raise ConfigError(
            f"{flag} is a {type(network).__name__} without a convolution or linear layer, "
            "of which alone a batch ensemble is made"
        )

    def converted(layer: nn.Module) -> nn.Module:
        kind = MEMBER_LAYERS.get(type(layer))
        return layer if kind is None else kind(layer, members, init)

    return BatchEnsemble(replace_layers(network, converted), members)


def replace_layers(network: nn.Module, replace: Replace) -> nn.Module:
    """``network`` with each of its modules replaced in place, once, wherever it stands."""
    made: dict[nn.Module, nn.Module] = {}
    for module in list(network.modules()):
        made[module] = replace(module)
    for module in made:
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = made[child]
    return made[network]


def _check_layer(module: nn.Module, name: str, flag: str) -> None:
    own = {key for key, parameter in module._parameters.items() if parameter is not None}
    # One that was given another forward would keep it, and not become what members share.
    layer = type(module) in MEMBER_LAYERS and "forward" not in vars(module)
    known = layer or isinstance(module, AS_THEY_ARE)
    if own and not (known and own <= {"weight", "bias"}):
        where = f"module {name!r}" if name else "the network itself"
        raise ConfigError(
            f"{flag} cannot be a batch ensemble: {where} is a {type(module).__name__} with parameters of "
            "its own; only plain Conv1d, Conv2d, Conv3d, Linear, normalisation and PReLU may have some"
        )
