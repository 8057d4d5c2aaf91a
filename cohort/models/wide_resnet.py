"""Wide ResNets: Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016, section 2 and Table 1.

WRN-d-w has d = 6n + 4 layers: a 3x3 stem of 16 channels, three stages of n pre-activation blocks
B(3, 3) with 16w, 32w and 64w channels, and a linear classifier on the average of the last map.
Without dropout, as Deep Mutual Learning uses it.

The 4 are the stem and the three 1x1 projections that open the stages. Others count the stem and the
classifier instead, as ResNets are counted, d = 6n + 2: WRN-20-8 and WRN-44-8 of Be Your Own Teacher
have n = 3 and n = 7. Both are accepted, and no depth is both: WRN-20-8 is the same network as
WRN-22-8. Its exits are those of ``exit_places``.

The code of ODS distillation's authors (Nam et al. 2021) has another one, ``wrn_<depth>_<width>_ods``:
its projections see the raw input of a block, and its classifier starts from N(0, 2 / num_classes).
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from cohort.models.layers import Backbone, draw_normal, exit_places, initialise_convolutions

STEM_WIDTH = 16


class WideResNet(Backbone):
    """WRN-depth-width: images [B, C, H, W] to logits [B, num_classes]."""

    stride = 4

    def __init__(
        self,
        depth: int,
        width: int,
        *,
        num_classes: int,
        in_channels: int = 3,
        of_ods: bool = False,
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 not in (2, 4):
            raise ValueError(
                f"depth of a wide ResNet is {depth}; it must be 6n + 4, n >= 1, "
                "or, with projections not counted, 6n + 2"
            )
        if width < 1:
            raise ValueError(f"width of a wide ResNet is {width}; it must be 1 or greater")
        blocks = depth // 6  # n in both ways of counting
        self.exits_after = exit_places((blocks, blocks, blocks))
        w1, w2, w3 = 16 * width, 32 * width, 64 * width
        self.stem = nn.Conv2d(in_channels, STEM_WIDTH, 3, padding=1, bias=False)
        self.stages = nn.Sequential(
            stage(STEM_WIDTH, w1, stride=1, blocks=blocks),
            stage(w1, w2, stride=2, blocks=blocks),
            stage(w2, w3, stride=2, blocks=blocks),
        )
        self.last_bn = nn.BatchNorm2d(w3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(w3, num_classes)
        initialise_convolutions(self)
        if of_ods:
            draw_normal(self.classifier.weight, math.sqrt(2 / num_classes))
            for block in self.modules():
                if isinstance(block, PreActivationBlock):
                    block.projects_raw = True

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, num_classes]."""
        maps = F.relu(self.last_bn(self.stages(self.stem(x_BCHW))))
        logits: Tensor = self.classifier(self.pool(maps).flatten(1))
        return logits


def stage(in_channels: int, out_channels: int, *, stride: int, blocks: int) -> nn.Sequential:
    """Blocks of one width; the first of them may halve the map."""
    rest = (PreActivationBlock(out_channels, out_channels, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(PreActivationBlock(in_channels, out_channels, stride=stride), *rest)


class PreActivationBlock(nn.Module):
    """BN-ReLU-conv twice, and a shortcut (Fig. 1a; He et al. 2016, Identity Mappings)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.projects_raw = False
        """Whether a projection sees the block's input as it is, like an identity."""
        self.projection: nn.Conv2d | None = None
        if in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of ``out_channels``, smaller by ``stride``."""
        y = F.relu(self.bn1(x))
        # A projection sees the activated input, as in the authors' code; an identity the raw one.
        seen = x if self.projects_raw else y
        shortcut = x if self.projection is None else self.projection(seen)
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(y))))
        return residual + shortcut
