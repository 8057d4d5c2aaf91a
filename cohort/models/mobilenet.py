"""MobileNetV1: Howard et al., MobileNets, arXiv 1704.04861, Table 1, and adapted to CIFAR.

``mobilenet_v1`` is the table as printed, for pictures of 224x224: 4.2 M parameters at 1000 classes
(Table 8). The stem of ``mobilenet`` keeps the resolution (stride 1 instead of 2), because a 32x32
image is small already; its parameters, 3.3 M at 100 classes, are those of the same network. Exits
come before each halving of the map but the first two of the table: after 3, 5, 11 and all 13 blocks.

The table has stride 2 in the last block as well, but sizes, 7x7 in and out, that need stride 1.
"""

from torch import Tensor, nn

from cohort.models.layers import Backbone, conv_bn_relu, initialise_convolutions

STEM_WIDTH = 32
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""(channels, stride) of each depthwise separable block."""


class MobileNet(Backbone):
    """MobileNetV1 of width 1: images [B, C, H, W] to logits [B, num_classes]."""

    exits_after = ("features.3", "features.5", "features.11")

    def __init__(self, *, num_classes: int, in_channels: int = 3, stem_stride: int = 1) -> None:
        super().__init__()
        self.stride = 16 * stem_stride
        self.features = nn.Sequential(conv_bn_relu(in_channels, STEM_WIDTH, 3, stride=stem_stride))
        channels = STEM_WIDTH
        for out_channels, stride in BLOCKS:
            self.features.append(separable(channels, out_channels, stride=stride))
            channels = out_channels
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        logits: Tensor = self.classifier(self.pool(self.features(x_BCHW)).flatten(1))
        return logits


def separable(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    """Depthwise 3x3, then pointwise 1x1, each with batch norm and ReLU (Fig. 3)."""
    return nn.Sequential(
        conv_bn_relu(in_channels, in_channels, 3, stride=stride, groups=in_channels),
        conv_bn_relu(in_channels, out_channels, 1),
    )
