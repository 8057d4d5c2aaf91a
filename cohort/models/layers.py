"""What several of our networks share. Shapes: B images, C channels, H x W pixels."""

import math

from torch import nn


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias (batch norm has one), padded to keep the size; batch norm; ReLU."""
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=False,
    )
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


def initialise_convolutions(network: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / fan_out) (He et al. 2015, eq. 14, for ReLU).

    Unlike ``nn.init.kaiming_normal_``, the fan of a grouped convolution counts only the outputs
    that an input reaches; otherwise depthwise kernels would start far too small.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
