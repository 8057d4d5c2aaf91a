"""MobileNetV1: Howard et al., MobileNets, arXiv 1704.04861, Table 1, adapted to CIFAR.

The stem keeps the resolution (stride 1 instead of 2), because a 32x32 image is small already; the
parameters, 3.3 M at 100 classes, are those of the paper's network. Its exits come before each
halving of the map but the first: after 3, 5, 11 and all 13 blocks.
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

    stride = 16
    exits_after = ("features.3", "features.5", "features.11")

    def __init__(self, *, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_bn_relu(in_channels, STEM_WIDTH, 3))
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
