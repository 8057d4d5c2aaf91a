"""InceptionV1: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, Table 1, for CIFAR.

Deep Mutual Learning gives its InceptionV1 7.8 M parameters on CIFAR-100 (Table 1) and does not say
what was adapted. The network of the authors' released (Market-1501) code is TF-slim's, which at 100
classes has 5.7 M; with the paper's 5x5 kernels it has 6.1 M. So this is a reconstruction, not a
copy. The nine modules and their widths are Szegedy et al.'s; around them

- the stem is one 3x3 convolution of 192 channels at full resolution, as in most CIFAR versions:
  strides of the 7x7 convolution and the first pool are dropped, the other three pools are kept;
- a 5x5 convolution is two of 3x3, with batch norm after each (Szegedy et al., Rethinking the
  Inception Architecture, section 3.1);
- the classifier reads the last 4x4 map itself instead of its average, because the original's fixed
  7x7 average does not fit on it;
- no auxiliary classifiers and no dropout.

That is 7,786,596 parameters at 100 classes. Independent accuracies may differ from the paper's.

Its exits come nearest to quarters of the nine modules: after 3b, 4c, 4e and 5b, which are the ends
of the three stages and the middle of the longest.
"""

import torch
from torch import Tensor, nn

from cohort.models.layers import Backbone, conv_bn_relu, initialise_convolutions

STEM_WIDTH = 192
STRIDE = 8
LAST_MAP = 4

STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Rows 3a-3b, 4a-4e, 5a-5b of Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj."""


class InceptionV1(Backbone):
    """InceptionV1: images [B, C, H, W] of one fixed size to logits [B, num_classes]."""

    stride = STRIDE
    exits_after = ("features.3", "features.7", "features.9")

    def __init__(self, *, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        in_channels, height, width = image_shape
        self.features = nn.Sequential(conv_bn_relu(in_channels, STEM_WIDTH, 3))
        channels = STEM_WIDTH
        for modules in STAGES:
            self.features.append(nn.MaxPool2d(3, stride=2, padding=1))
            for widths in modules:
                self.features.append(Inception(channels, widths))
                channels = widths[0] + widths[2] + widths[4] + widths[5]
        # Images larger than 32x32 are averaged down to a map of about 4x4; 32x32 is left alone.
        map_size = (-(-height // STRIDE), -(-width // STRIDE))
        window = (max(1, map_size[0] // LAST_MAP), max(1, map_size[1] // LAST_MAP))
        self.pool = nn.AvgPool2d(window)
        cells = (map_size[0] // window[0]) * (map_size[1] // window[1])
        self.classifier = nn.Linear(channels * cells, num_classes)
        initialise_convolutions(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        logits: Tensor = self.classifier(self.pool(self.features(x_BCHW)).flatten(1))
        return logits


class Inception(nn.Module):
    """Four branches side by side, their channels concatenated (Fig. 2b)."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = widths
        self.branch1 = conv_bn_relu(in_channels, one, 1)
        self.branch3 = nn.Sequential(
            conv_bn_relu(in_channels, reduce3, 1), conv_bn_relu(reduce3, three, 3)
        )
        self.branch5 = nn.Sequential(
            conv_bn_relu(in_channels, reduce5, 1),
            conv_bn_relu(reduce5, five, 3),
            conv_bn_relu(five, five, 3),
        )
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), conv_bn_relu(in_channels, pooled, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same size, with the four branches' channels."""
        branches = (self.branch1, self.branch3, self.branch5, self.branch_pool)
        return torch.cat([branch(x) for branch in branches], dim=1)
