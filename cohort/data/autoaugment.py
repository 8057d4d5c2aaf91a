"""AutoAugment (Cubuk et al., CVPR 2019, arXiv 1805.09501), example by example.

B batch, C channels, H and W height and width.
"""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

FILL = 128
"""Grey for what a shift, shear or rotation uncovers, as self-distillation's authors have it."""

CHANNELS = (1, 3)
"""Grey and RGB: what the policy's operations are defined for."""


def auto_augment(images_BCHW: Tensor, seeds: Sequence[int]) -> Tensor:
    """Each image changed by a sub-policy of CIFAR-10's 25, drawn from its own seed.

    Images are uint8 [B, C, H, W], and on the CPU: a GPU would round some pixels differently. No
    global random state is used: other threads may be drawing from it.
    """
    policy, changed = cifar10_policy(), torch.empty_like(images_BCHW)
    for index, seed in enumerate(seeds):
        changed[index] = _drawing(policy, seed)(images_BCHW[index])
    return changed


def _drawing(policy: Any, seed: int) -> Any:
    """The policy, drawing as torchvision does, but from a generator of its own."""
    random = torch.Generator().manual_seed(seed)

    def get_params(policies: int) -> tuple[int, Tensor, Tensor]:
        chosen = int(torch.randint(policies, (1,), generator=random))
        return chosen, torch.rand(2, generator=random), torch.randint(2, (2,), generator=random)

    own = copy.copy(policy)
    own.get_params = get_params
    return own


@cache
def cifar10_policy() -> Any:
    """torchvision's, imported here because that is slow and most runs do without."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    return AutoAugment(AutoAugmentPolicy.CIFAR10, fill=FILL)


def check_channels(channels: int) -> None:
    """Raise ValueError for pictures that are neither grey nor RGB."""
    if channels not in CHANNELS:
        raise ValueError(f"AutoAugment takes images of 1 or 3 channels, and these have {channels}")
