"""ResNet-18 to -152, and ResNeXt, for images of any size.

ResNet: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, Table 1, with projection
shortcuts where the size changes (option B). A bottleneck strides in its 3x3 convolution, as most
implementations have it since; the paper strides in the first 1x1, with as many parameters.

ResNeXt: Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017, Table
1 and section 5.3 (CIFAR): the bottleneck's 3x3 convolution has ``groups`` groups (cardinality),
each ``base_width`` channels wide in the first stage.

Images smaller than 64 pixels on either side get the stem that CIFAR versions use, one 3x3
convolution; larger ones the ImageNet stem, a 7x7 convolution of stride 2 and a max-pool, and the
network is torchvision's.

Exits are those of ``exit_places``: four stages are cut at their ends.
Shapes: B images, C channels, H x W pixels.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from cohort.models.layers import (
    Backbone,
    conv_bn,
    conv_bn_relu,
    exit_places,
    initialise_convolutions,
)

IMAGENET_SIZE = 64
"""Images at least this large, on both sides, get the ImageNet stem."""


class ResidualBlock(nn.Module):
    """``relu(residual(x) + shortcut(x))``, the shortcut projected where the size changes."""

    def __init__(
        self, residual: nn.Sequential, in_channels: int, out_channels: int, *, stride: int
    ) -> None:
        super().__init__()
        self.residual = residual
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = (
            conv_bn(in_channels, out_channels, 1, stride=stride) if changes else nn.Identity()
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps of ``out_channels``, smaller by ``stride``."""
        maps: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return maps


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (He et al., Fig. 5 left); not grouped."""

    expansion = 1

    def __init__(
        self, in_channels: int, planes: int, *, stride: int, groups: int, base_width: int
    ) -> None:
        if (groups, base_width) != (1, 64):
            raise ValueError("basic blocks have no groups; take bottlenecks")
        residual = nn.Sequential(
            conv_bn_relu(in_channels, planes, 3, stride=stride), conv_bn(planes, planes, 3)
        )
        super().__init__(residual, in_channels, planes, stride=stride)


class Bottleneck(ResidualBlock):
    """1x1, grouped 3x3 and 1x1 convolutions (He et al., Fig. 5 right; Xie et al., Fig. 3c)."""

    expansion = 4

    def __init__(
        self, in_channels: int, planes: int, *, stride: int, groups: int, base_width: int
    ) -> None:
        width = groups * (planes * base_width // 64)
        out_channels = planes * self.expansion
        residual = nn.Sequential(
            conv_bn_relu(in_channels, width, 1),
            conv_bn_relu(width, width, 3, stride=stride, groups=groups),
            conv_bn(width, out_channels, 1),
        )
        super().__init__(residual, in_channels, out_channels, stride=stride)


class DeepResNet(Backbone):
    """ResNet or ResNeXt: images [B, C, H, W] to logits [B, num_classes].

    Args:
        layers: how many blocks each stage has; stages have 1, 2, 4, … times ``width`` planes.
        block: what they are made of.
        num_classes: how many logits an image gets.
        image_shape: (C, H, W) of the images, which decides the stem.
        groups: cardinality of a bottleneck's 3x3 convolution; 1 is ResNet.
        base_width: channels of each group in the first stage; 64 is ResNet.
        width: channels of the stem; 64 is the papers'.

    Raises:
        ValueError: if a number is not positive, or basic blocks are to have groups.
    """

    def __init__(
        self,
        layers: Sequence[int],
        block: type[BasicBlock] | type[Bottleneck],
        *,
        num_classes: int,
        image_shape: tuple[int, int, int],
        groups: int = 1,
        base_width: int = 64,
        width: int = 64,
    ) -> None:
        super().__init__()
        if groups < 1 or base_width < 1:
            raise ValueError(
                f"cardinality x width of a ResNeXt is {groups}x{base_width}d; "
                "both must be 1 or greater"
            )
        if width < 1:
            raise ValueError(f"width of a ResNet is {width}; it must be 1 or greater")
        self.stem, stem_stride = build_stem(image_shape, width)
        self.stride = stem_stride * 2 ** (len(layers) - 1)
        self.exits_after = exit_places(layers)
        self.stages = nn.Sequential()
        channels = width
        make = partial(block, groups=groups, base_width=base_width)
        for index, blocks in enumerate(layers):
            planes, stride = width * 2**index, 1 if index == 0 else 2
            first = make(channels, planes, stride=stride)
            channels = planes * block.expansion
            rest = (make(channels, planes, stride=1) for _ in range(blocks - 1))
            self.stages.append(nn.Sequential(first, *rest))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        logits: Tensor = self.classifier(self.pool(self.stages(self.stem(x_BCHW))).flatten(1))
        return logits


def build_stem(image_shape: tuple[int, int, int], width: int) -> tuple[nn.Sequential, int]:
    """What stands before the stages, and how many times it shrinks an image."""
    channels, *size = image_shape
    if min(size) < IMAGENET_SIZE:
        return conv_bn_relu(channels, width, 3), 1
    stem = conv_bn_relu(channels, width, 7, stride=2)
    return stem.append(nn.MaxPool2d(3, stride=2, padding=1)), 4


RESNETS: dict[int, tuple[tuple[int, ...], type[BasicBlock] | type[Bottleneck]]] = {
    18: ((2, 2, 2, 2), BasicBlock),
    34: ((3, 4, 6, 3), BasicBlock),
    50: ((3, 4, 6, 3), Bottleneck),
    101: ((3, 4, 23, 3), Bottleneck),
    152: ((3, 8, 36, 3), Bottleneck),
}
"""Depth to blocks (He et al., Table 1)."""


def deep_resnet(
    depth: int, width: int = 64, *, num_classes: int, image_shape: tuple[int, int, int]
) -> DeepResNet:
    """ResNet of a depth in ``RESNETS``; thinner or wider than the paper's if ``width`` is not 64."""
    if depth not in RESNETS:
        raise ValueError(f"depth of such a ResNet is {depth}; it must be one of {[*RESNETS]}")
    layers, block = RESNETS[depth]
    return DeepResNet(layers, block, num_classes=num_classes, image_shape=image_shape, width=width)


def resnext(
    depth: int, cardinality: int, width: int, *, num_classes: int, image_shape: tuple[int, int, int]
) -> DeepResNet:
    """ResNeXt-depth, cardinality x width d.

    Depths 50, 101 and 152 are the four stages of the ResNets so named. Any other is 9n + 2, three
    stages of n bottlenecks, which Xie et al. train on CIFAR. (101 would be that as well.)

    Raises:
        ValueError: if the depth is neither, or cardinality or width is not positive.
    """
    if depth in (50, 101, 152):
        layers = RESNETS[depth][0]
    elif depth >= 11 and depth % 9 == 2:
        layers = (depth // 9,) * 3
    else:
        raise ValueError(
            f"depth of a ResNeXt is {depth}; it must be 50, 101 or 152, or 9n + 2, n >= 1"
        )
    return DeepResNet(
        layers,
        Bottleneck,
        num_classes=num_classes,
        image_shape=image_shape,
        groups=cardinality,
        base_width=width,
    )
