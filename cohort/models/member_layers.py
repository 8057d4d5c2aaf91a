"""Layers of which members share the weight: BatchEnsemble — Wen, Tran, Ba, ICLR 2020 (arXiv 2002.06715).

The weight of member j is ``W * (r_j s_j^T)``, with W shared and the fast weights r_j and s_j its own.

The paper scales activations, ``r_j * (W (s_j * x))``. Here the weights are scaled instead: they are
far fewer than the activations of a convolution, of which nothing more need be kept for the backward
pass, and a member computes what a plain network of its weights would, bit for bit.

Shapes: I input and O output channels, M members. A batch of all members is member-major: the rows
from j*B to (j+1)*B are member j's.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cohort.models.spec import MemberInit


class MemberLayer(nn.Module, ABC):
    """A convolution or linear layer in M versions, each for its part of the batch.

    Made of a plain layer, whose weight, settings and hooks it takes over; a bias is copied for each
    member. The fast weights are drawn from torch's global generator.
    """

    plain: ClassVar[type[nn.Module]]
    """The class of the layer that it was."""
    weight: nn.Parameter
    """The weight W that all members have in common, [O, I / groups, ...]."""
    r: nn.Parameter
    """Fast weights of the output channels, [M, O]."""
    s: nn.Parameter
    """Fast weights of the input channels, [M, I]."""
    bias: nn.Parameter | None
    """Each member's own bias, [M, O]."""

    def __init__(self, layer: nn.Module, members: int, init: MemberInit) -> None:
        nn.Module.__init__(self)
        _take_over(self, layer)
        self.groups: int = getattr(layer, "groups", 1)
        out_channels, in_channels = self.weight.shape[0], self.weight.shape[1] * self.groups
        self.r = nn.Parameter(_fast_weight(members, out_channels, init).to(self.weight))
        self.s = nn.Parameter(_fast_weight(members, in_channels, init).to(self.weight))
        if self.bias is not None:
            copies = self.bias.detach().expand(members, -1).clone()
            self.bias = nn.Parameter(copies, requires_grad=self.bias.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        """What each member gives for its part of the batch.

        Raises ValueError if M does not divide the batch.
        """
        members = len(self.r)
        rows = x.shape[0]  # not len(x), which torch.export takes for a constant
        if rows % members:
            raise ValueError(
                f"a batch of {rows} cannot be shared by {members} members; "
                "a batch ensemble runs its layers on M examples for each that it is given"
            )
        # Not chunks or slices, whose backward passes cost more than one concatenation.
        parts = x.split_with_sizes([rows // members] * members)
        biases = [None] * members if self.bias is None else self.bias.unbind()
        weights = self.weights().unbind()
        return torch.cat(
            [self._apply_to(*of_one) for of_one in zip(parts, weights, biases, strict=True)]
        )

    def weights(self) -> Tensor:
        """``W * (r_j s_j^T)`` of every member, [M, O, I / groups, ...]."""
        r_MGO1 = self.r.view(len(self.r), self.groups, -1, 1)
        s_MG1I = self.s.view(len(self.s), self.groups, 1, -1)
        outer_MOI = (r_MGO1 * s_MG1I).flatten(1, 2)
        kernel = self.weight.dim() - 2
        of_members: Tensor = self.weight * outer_MOI.view(*outer_MOI.shape, *[1] * kernel)
        return of_members

    def member_alone(self, member: int) -> nn.Module:
        """A plain layer with the weight and bias of one member, in copies."""
        alone = self.plain.__new__(self.plain)
        nn.Module.__init__(alone)
        _take_over(alone, self)
        weight, bias = self.weights()[member], None if self.bias is None else self.bias[member]
        alone._parameters = {
            "weight": nn.Parameter(weight.detach().clone()),
            "bias": None if bias is None else nn.Parameter(bias.detach().clone()),
        }
        return alone

    @abstractmethod
    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The plain layer's operation."""


class MemberConv(MemberLayer):
    """A convolution of any number of dimensions, whatever its groups and padding."""

    _conv_forward: Callable[[Tensor, Tensor, Tensor | None], Tensor]

    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._conv_forward(x, weight, bias)


class MemberConv1d(MemberConv, nn.Conv1d):  # type: ignore[misc]
    """A Conv1d in M versions."""

    plain = nn.Conv1d


class MemberConv2d(MemberConv, nn.Conv2d):  # type: ignore[misc]
    """A Conv2d in M versions."""

    plain = nn.Conv2d


class MemberConv3d(MemberConv, nn.Conv3d):  # type: ignore[misc]
    """A Conv3d in M versions."""

    plain = nn.Conv3d


class MemberLinear(MemberLayer, nn.Linear):  # type: ignore[misc]
    """A Linear in M versions."""

    plain = nn.Linear

    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)


MEMBER_LAYERS: dict[type[nn.Module], type[MemberLayer]] = {
    layer.plain: layer for layer in (MemberConv1d, MemberConv2d, MemberConv3d, MemberLinear)
}


def member_layers(module: nn.Module) -> list[MemberLayer]:
    """Every MemberLayer of a module, once."""
    return [layer for layer in module.modules() if isinstance(layer, MemberLayer)]


def fast_weights(module: nn.Module) -> list[nn.Parameter]:
    """Every fast weight of a module's layers: r [M, O] and s [M, I]."""
    return [weight for layer in member_layers(module) for weight in (layer.r, layer.s)]


def member_biases(module: nn.Module) -> list[nn.Parameter]:
    """Every bias that each member has for itself, [M, O]."""
    return [layer.bias for layer in member_layers(module) if layer.bias is not None]


def _fast_weight(members: int, channels: int, init: MemberInit) -> Tensor:
    if init == "sign":
        return torch.randint(0, 2, (members, channels)) * 2.0 - 1
    return torch.empty(members, channels).normal_(1, 0.5)


def _take_over(new: nn.Module, layer: nn.Module) -> None:
    """Give ``new`` all that a layer of another class holds, its parameters as they are."""
    state: dict[str, Any] = {
        key: copy.copy(value) if key.startswith("_") else value
        for key, value in layer.__dict__.items()
    }
    new.__dict__.update(state)
