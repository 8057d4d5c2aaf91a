"""PyramidNets: Han, Kim & Kim, Deep Pyramidal Residual Networks, CVPR 2017, section 4 and Table 1.

Every block is wider than the one before: of N blocks in three stages, block k has
``16 + alpha k / N`` channels (additive widening, eq. 3), rounded for each block alone as in the
authors' code; rounding down as eq. 3 is printed would, with alpha < N, never widen. Blocks are
Fig. 6d: no ReLU before the first convolution and a batch norm after the last. Shortcuts are
identities, averaged 2x2 where the map halves (the code again) and padded with zero channels, so
they have no parameters. Depth is 6n + 2 with basic blocks; 9n + 2 with bottlenecks, which give out
four times as many channels.

Parameters are those of independent builds; the paper's Table 4 has up to 4 % fewer and does not say
how it counts.

Exits are those of ``exit_places``. Shapes: B images, C channels, H x W pixels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from cohort.models.layers import (
    Backbone,
    conv_bn,
    conv_bn_relu,
    exit_places,
    initialise_convolutions,
)

STEM_WIDTH = 16
EXPANSION = 4


class PyramidNet(Backbone):
    """PyramidNet-depth, widened by alpha: images [B, C, H, W] to logits [B, num_classes].

    Raises ValueError if there is no such depth, or if alpha is not positive.
    """

    stride = 4

    def __init__(
        self,
        depth: int,
        alpha: int,
        *,
        bottleneck: bool = False,
        num_classes: int,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        blocks = blocks_per_stage(depth, bottleneck=bottleneck)
        if alpha < 1:
            raise ValueError(f"alpha of a PyramidNet is {alpha}; it must be 1 or greater")
        self.exits_after = exit_places((blocks, blocks, blocks))
        self.stem = conv_bn(in_channels, STEM_WIDTH, 3)  # without ReLU
        stages = [nn.Sequential() for _ in range(3)]
        channels = STEM_WIDTH
        for index in range(3 * blocks):
            planes = round(STEM_WIDTH + alpha * (index + 1) / (3 * blocks))
            stride = 2 if index in (blocks, 2 * blocks) else 1
            block = PyramidBlock(channels, planes, stride=stride, bottleneck=bottleneck)
            stages[index // blocks].append(block)
            channels = block.out_channels
        self.stages = nn.Sequential(*stages)
        self.last_bn = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        maps = F.relu(self.last_bn(self.stages(self.stem(x_BCHW))))
        logits: Tensor = self.classifier(self.pool(maps).flatten(1))
        return logits


def blocks_per_stage(depth: int, *, bottleneck: bool) -> int:
    """The n of 6n + 2, or of 9n + 2 with bottlenecks."""
    unit, kind = (9, "with bottlenecks") if bottleneck else (6, "with basic blocks")
    if depth < unit + 2 or depth % unit != 2:
        raise ValueError(f"depth of a PyramidNet {kind} is {depth}; it must be {unit}n + 2, n >= 1")
    return depth // unit


class PyramidBlock(nn.Module):
    """BN, convolutions with BN and ReLU between them, BN; and a padded shortcut (Fig. 6d)."""

    def __init__(self, in_channels: int, planes: int, *, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.out_channels = planes * EXPANSION if bottleneck else planes
        convolutions = (
            (
                conv_bn_relu(in_channels, planes, 1),
                conv_bn_relu(planes, planes, 3, stride=stride),
                conv_bn(planes, self.out_channels, 1),
            )
            if bottleneck
            else (conv_bn_relu(in_channels, planes, 3, stride=stride), conv_bn(planes, planes, 3))
        )
        self.residual = nn.Sequential(nn.BatchNorm2d(in_channels), *convolutions)
        # Rounded up, as a strided convolution of an odd map is.
        self.subsample = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps of ``out_channels``, smaller by ``stride``."""
        added = self.out_channels - x.shape[1]
        shortcut = F.pad(self.subsample(x), (0, 0, 0, 0, 0, added))
        maps: Tensor = self.residual(x) + shortcut
        return maps
