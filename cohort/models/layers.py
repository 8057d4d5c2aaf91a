"""What several of our networks share. Shapes: B images, C channels, H x W pixels."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network of ours, and what it says about itself."""

    stride: int
    """How many times it shrinks an image, which must be at least that large."""
    exits_after: tuple[str, ...]
    """Names of the modules after which it gets exits by default, the deepest exit left out."""


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias (batch norm has one), padded to keep the size; batch norm."""
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=False,
    )
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """``conv_bn``, then ReLU."""
    block = conv_bn(in_channels, out_channels, kernel, stride=stride, groups=groups)
    return block.append(nn.ReLU())


def initialise_convolutions(network: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / fan_out) (He et al. 2015, eq. 14, for ReLU).

    Unlike ``nn.init.kaiming_normal_``, the fan of a grouped convolution counts only the outputs
    that an input reaches; otherwise depthwise kernels would start far too small.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
            draw_normal(module.weight, math.sqrt(2 / fan_out))


def draw_normal(weight: Tensor, std: float) -> None:
    """Draw a weight from N(0, std^2), if it has memory: on ``meta`` torch would import its compiler."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def exit_places(blocks: Sequence[int]) -> tuple[str, ...]:
    """After which modules of ``stages`` a residual network gets its exits, the deepest left out.

    Be Your Own Teacher (Zhang et al. 2019) divides a ResNet of four stages at their ends. Three
    stages end at thirds; the paper reports exits at 1/4, 2/4, 3/4 and 4/4 of such networks too,
    without saying where they are, so here they come after the blocks nearest to a quarter, half and
    three quarters of all. Their stages cost about the same each, so those are quarters of the work
    as well, and one exit lies in every stage. Three blocks in all have room for three exits only.

    Args:
        blocks: how many each stage has.
    """
    if len(blocks) != 3:
        return tuple(f"stages.{index}" for index in range(len(blocks) - 1))
    places = [
        f"stages.{index}" if block == size - 1 else f"stages.{index}.{block}"
        for index, size in enumerate(blocks)
        for block in range(size)
    ]
    counts = {(2 * len(places) * quarter + 4) // 8 for quarter in (1, 2, 3)}  # halves round up
    return tuple(places[count - 1] for count in sorted(counts))
