"""FitNets' convolutional regressor (Romero et al., ICLR 2015, arXiv 1412.6550, section 2.2).

B batch, C channels, H x W pixels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from cohort.models.layers import conv_bn_relu, initialise_convolutions

MapShape = tuple[int, int, int]


class Regressors(nn.Module):
    """Gives each map of a student the channels of the teacher's map that it shall resemble.

    A 1x1 convolution, batch norm and ReLU per pair, as re-implementations have it (RepDistiller's
    ConvReg). The paper asks for the non-linearity of the teacher's map: for maps after a ReLU. The
    spatial size stays; the objective pools the larger map.

    Args:
        student_shapes: (C, H, W) of each of the student's maps.
        teacher_shapes: (C, H, W) of the teacher's map for each of them.
    """

    def __init__(
        self, student_shapes: Sequence[MapShape], teacher_shapes: Sequence[MapShape]
    ) -> None:
        super().__init__()
        pairs = zip(student_shapes, teacher_shapes, strict=True)
        self.regressors = nn.ModuleList(
            conv_bn_relu(student[0], teacher[0], 1) for student, teacher in pairs
        )
        initialise_convolutions(self)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps [B, C of the student, H, W] to [B, C of the teacher, H, W], pair by pair."""
        pairs = zip(self.regressors, maps, strict=True)
        return tuple(regressor(map_BCHW) for regressor, map_BCHW in pairs)
