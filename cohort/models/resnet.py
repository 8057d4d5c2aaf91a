"""CIFAR ResNets: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.

Depth is 6n + 2: a 3x3 stem, three stages of n two-convolution blocks with 16, 32 and 64 channels,
and a linear classifier on the average of the last map. Its exits are those of ``exit_places``.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from cohort.models.layers import Backbone, exit_places, initialise_convolutions

WIDTHS = (16, 32, 64)


class ResNet(Backbone):
    """CIFAR ResNet: images [B, C, H, W] to logits [B, num_classes]."""

    stride = 4

    def __init__(self, depth: int, *, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth of a CIFAR ResNet is {depth}; it must be 6n + 2, n >= 1")
        blocks = depth // 6
        self.exits_after = exit_places((blocks, blocks, blocks))
        self.stem = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(WIDTHS[0])
        self.stages = nn.Sequential(
            stage(WIDTHS[0], WIDTHS[0], stride=1, blocks=blocks),
            stage(WIDTHS[0], WIDTHS[1], stride=2, blocks=blocks),
            stage(WIDTHS[1], WIDTHS[2], stride=2, blocks=blocks),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(WIDTHS[2], num_classes)
        initialise_convolutions(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        maps = self.stages(F.relu(self.stem_bn(self.stem(x_BCHW))))
        logits: Tensor = self.classifier(self.pool(maps).flatten(1))
        return logits


def stage(in_channels: int, out_channels: int, *, stride: int, blocks: int) -> nn.Sequential:
    """Blocks of one width; the first of them may halve the map."""
    rest = (BasicBlock(out_channels, out_channels, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(in_channels, out_channels, stride=stride), *rest)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., Fig. 2)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of ``out_channels``, smaller by ``stride``."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + shortcut(x, channels=y.shape[1], stride=self.stride))


def shortcut(x: Tensor, *, channels: int, stride: int) -> Tensor:
    """Option A of section 3.3: every ``stride``-th pixel, and zeros for the added channels.

    It has no parameters, which is what makes the published counts come out. The zeros are split
    before and after the old channels, as in most CIFAR implementations.
    """
    added = channels - x.shape[1]
    if stride == 1 and added == 0:
        return x
    before = added // 2
    padding = (0, 0, 0, 0, before, added - before)
    # As ``x[:, :, ::stride, ::stride]``, whose gradient is not channels-last: everything before it
    # in the network would then work on maps of two layouts, an eleventh of a step in bf16.
    return F.pad(F.avg_pool2d(x, 1, stride), padding)
