"""VGG with batch norm: Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015, Table 1.

Configurations A, B, D and E (11, 13, 16 and 19 layers), with batch norm after each convolution and
none of its biases. Five stages of 3x3 convolutions, each ending in its max-pool. The head is what
CIFAR versions have, an average over the last map and one linear layer of 512 inputs, in place of
three layers with 4096 units, 124 M parameters and dropout, so any image of 32x32 or more fits.

Of five stages the first gets no exit, which leaves four as in other networks: one or two
convolutions and a pool see 6x6 pixels at most, too little to tell classes by.
"""

from torch import Tensor, nn

from cohort.models.layers import Backbone, conv_bn_relu, initialise_convolutions

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth to convolutions per stage (configurations A, B, D, E)."""


class VGG(Backbone):
    """VGG-depth with batch norm: images [B, C, H, W] to logits [B, num_classes]."""

    stride = 32
    exits_after = ("stages.1", "stages.2", "stages.3")

    def __init__(self, depth: int, *, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS:
            raise ValueError(f"depth of a VGG is {depth}; it must be 11, 13, 16 or 19")
        self.stages = nn.Sequential()
        channels = in_channels
        for width, convolutions in zip(WIDTHS, CONVOLUTIONS[depth], strict=True):
            self.stages.append(stage(channels, width, convolutions=convolutions))
            channels = width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        logits: Tensor = self.classifier(self.pool(self.stages(x_BCHW)).flatten(1))
        return logits


def stage(in_channels: int, out_channels: int, *, convolutions: int) -> nn.Sequential:
    """3x3 convolutions of one width, and the max-pool that halves their map."""
    rest = (conv_bn_relu(out_channels, out_channels, 3) for _ in range(convolutions - 1))
    return nn.Sequential(conv_bn_relu(in_channels, out_channels, 3), *rest, nn.MaxPool2d(2))
